"""A busy child ends too when its parent is gone, also one that was not started by us.

A child that reads its channel sees the end of it. One that computes does not. Under `open_child` on Linux the kernel
takes care (`_orphans`, the lifeline); under any other parent a thread waits for the parent's death, and then ends
this process: SIGTERM after 0.3 s, so that who is leaving by itself may, and SIGKILL 0.3 s later.

Its limit: a thread can't act while C code holds the GIL.
"""

from __future__ import annotations

import os
import sys
from _thread import start_new_thread
from time import sleep

_GRACE = 0.3  # seconds, twice: the child is gone within one second
_INTERVAL = 0.5  # seconds between two looks, where the system can't be asked to tell


def watch_parent(fd: int) -> None:
    """Have this process end when the one at the other end of the channel `fd` is dead. Costs nothing until then."""
    if not _has_lifeline():
        start_new_thread(_watch, (fd, os.getppid()))


def _has_lifeline() -> bool:
    """Whether the kernel was told to kill us with our parent: one of our pipes is armed with SIGKILL for our group."""
    if sys.platform != "linux":
        return False
    import fcntl
    from signal import SIGKILL

    for name in os.listdir("/proc/self/fd"):
        try:
            if fcntl.fcntl(int(name), fcntl.F_GETSIG) == SIGKILL and fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ASYNC:
                return True
        except OSError:  # the descriptor of the listing itself
            pass
    return False


def _watch(fd: int, parent: int) -> None:
    """The thread."""
    try:
        _await_death(_peer(fd) or parent)
    except ProcessLookupError:
        pass  # it was dead before we looked
    except OSError:  # no pidfd on this system, or not allowed in this sandbox
        while os.getppid() == parent:
            sleep(_INTERVAL)
    _end()


def _await_death(pid: int) -> None:
    import select

    if sys.platform != "linux":
        raise OSError("no pidfd")
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()


def _peer(fd: int) -> int:
    """The pid of who made the channel: not always our parent, as a launcher (`sh -c`, `uv run`) may stand between."""
    import socket

    # Through a copy that lives for an instant: the number may be closed and used again by the main thread.
    with socket.socket(fileno=os.dup(fd)) as copy:
        credentials = copy.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # struct ucred: pid, uid, gid
    return int.from_bytes(credentials[:4], sys.byteorder)


def _end() -> None:
    from signal import SIGKILL, SIGTERM

    sleep(_GRACE)
    os.kill(os.getpid(), SIGTERM)
    sleep(_GRACE)
    os.kill(os.getpid(), SIGKILL)
