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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_GRACE = 0.3  # seconds, twice: the child is gone within one second
_INTERVAL = 0.5  # seconds between two looks, where the system can't be asked to tell


def watch_parent(fd: int) -> None:
    """Have this process end when the one at the other end of the channel `fd` is dead. Costs nothing until then.

    The thread finds everything imported and opened. It may begin as late as when the interpreter shuts down, which
    frees the import lock: a thread that waits for that one is a crash (CPython 3.11).
    """
    if _has_lifeline():
        return
    if await_death := _death_of_parent(fd):
        from signal import SIG_BLOCK, SIG_SETMASK, SIGKILL, SIGTERM, pthread_sigmask, valid_signals

        # The thread inherits the mask. A signal that the kernel gave to it would not interrupt the wait of the main
        # thread, which alone runs handlers.
        before = pthread_sigmask(SIG_BLOCK, valid_signals())
        try:
            start_new_thread(_watch, (await_death, int(SIGTERM), int(SIGKILL)))
        finally:
            pthread_sigmask(SIG_SETMASK, before)


def _has_lifeline() -> bool:
    """Whether the kernel was told to kill us with our parent: one of our pipes is armed with SIGKILL for our group."""
    if sys.platform != "linux":
        return False
    import fcntl
    from signal import SIGKILL

    try:
        names = os.listdir("/proc/self/fd")
    except OSError:  # a sandbox without /proc: then the thread watches, which at worst is one too many
        return False
    for name in names:
        try:
            if fcntl.fcntl(int(name), fcntl.F_GETSIG) == SIGKILL and fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ASYNC:
                return True
        except OSError:  # the descriptor of the listing itself
            pass
    return False


def _watch(await_death: Callable[[], object], *signals: int) -> None:
    """The thread."""
    await_death()
    for number in signals:
        sleep(_GRACE)
        os.kill(os.getpid(), number)


def _death_of_parent(fd: int) -> Callable[[], object] | None:
    """Return what returns when the parent is dead; None if that is this process, which can't outlive itself."""
    parent = os.getppid()
    try:
        maker = _peer(fd) or parent
        return None if maker == os.getpid() else _death_of(maker)
    except ProcessLookupError:
        return _nothing  # it was dead before we looked
    except OSError:  # no pidfd on this system, or not allowed in this sandbox
        return lambda: _until_adopted(parent)


def _death_of(pid: int) -> Callable[[], object]:
    import select

    if sys.platform != "linux":
        raise OSError("no pidfd")
    poll = select.poll()
    poll.register(os.pidfd_open(pid), select.POLLIN)
    return poll.poll


def _until_adopted(parent: int) -> None:
    while os.getppid() == parent:
        sleep(_INTERVAL)


def _nothing() -> None:
    return None


def _peer(fd: int) -> int:
    """The pid of whoever made the channel: not always our parent, a launcher (`sh -c`, `uv run`) may stand between."""
    import _socket  # the part in C: `socket` itself costs a child ten times as much

    end = _socket.socket(fileno=os.dup(fd))
    try:
        credentials = end.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)  # struct ucred: pid, uid, gid
    finally:
        end.close()
    return int.from_bytes(credentials[:4], sys.byteorder)
