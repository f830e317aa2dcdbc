"""Take over the descriptor that the parent put into this process, before anyone else finds it.

The facts are Node's: `NODE_CHANNEL_FD` is the number, `NODE_CHANNEL_SERIALIZATION_MODE` the vocabulary. Both must be
gone before anything else is started: a grandchild that found them would adopt a number that means nothing to it (Node
aborts), and one that inherited the descriptor would keep the channel open after our death.
"""

from __future__ import annotations

import os
from stat import S_ISSOCK

from ._errors import NoChannel

_adopted = False


def adopt() -> int:
    """Return the channel's descriptor: not inheritable, non-blocking, above 2. Removes both variables in any case.

    Raises NoChannel, with a sentence that says what to do, if there is none or it cannot be used.
    """
    global _adopted
    number = os.environ.pop("NODE_CHANNEL_FD", "")
    mode = os.environ.pop("NODE_CHANNEL_SERIALIZATION_MODE", "") or "json"
    if not number:
        raise NoChannel(_missing())
    if mode != "json":
        raise NoChannel(
            f"the parent speaks {mode!r}, a private format of its JavaScript engine, and not JSON: "
            "it must start this process with { serialization: 'json' }"
        )
    fd = _check(number)
    if fd <= 2:
        fd = _lift(fd)
    os.set_inheritable(fd, False)
    os.set_blocking(fd, False)
    _adopted = True
    return fd


def _missing() -> str:
    if _adopted:
        return "the parent's channel was opened in this process before: there is only one"
    return (
        "this process was not given a channel: a parent must start it, with worker_ipc.open_child([...]), "
        "or with child_process.fork in Node"
    )


def _check(number: str) -> int:
    """Return the number in NODE_CHANNEL_FD, if there is a socket behind it."""
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise NoChannel(f"NODE_CHANNEL_FD must be the number of a descriptor, got {number[:80]!r}")
    try:
        status = os.fstat(int(number))
    except OSError:
        raise NoChannel(
            f"NODE_CHANNEL_FD is {number}, which is not open here: a launcher between the parent and this process "
            "must pass the descriptor on"
        ) from None
    if not S_ISSOCK(status.st_mode):
        raise NoChannel(
            f"NODE_CHANNEL_FD is {number}, which is not a socket: the variable was meant for another process"
        )
    return int(number)


def _lift(fd: int) -> int:
    """Move the channel away from stdin, stdout or stderr: the next `print` would be written to the parent."""
    import fcntl

    lifted = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)
    return lifted
