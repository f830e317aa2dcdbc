"""Descriptors that nobody gets by accident: above 2, close-on-exec, closed once and by their owner only.

Three rules, each the answer to a way in which descriptors go wrong:

* **Never 0, 1 or 2.** A parent that runs with its stdout closed would get number 1 for a new socket, and the next
  `print` would be written to a peer. So every descriptor made here is lifted above them.
* **Never inherited.** All are close-on-exec; the child's ends are passed by name at the one spawn they are meant for.
* **A number is not an identity.** Whoever holds a number may find it closed and used again by someone else. `Owned`
  remembers *which* file it was and touches only that one.
"""

import fcntl
import os
import socket

__all__ = ("Owned", "is_standard", "lift", "make_pipe", "make_socketpair")


def lift(fd: int) -> int:
    """Move a descriptor of ours above stderr, if it is not there yet. On failure it is closed."""
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def is_standard(number: int) -> bool:
    """Tell whether 0, 1 or 2 really is our standard stream.

    In a process that was started without one, the number goes to the next file that anybody opens. A standard stream
    is there to be inherited; such a file is close-on-exec, as all that Python opens.
    """
    try:
        return os.get_inheritable(number)
    except OSError:
        return False


def make_pipe() -> "tuple[Owned, Owned]":
    """Return the (read, write) ends of a pipe."""
    return _lift_both(*os.pipe())


def make_socketpair() -> "tuple[Owned, Owned]":
    """Return two connected ends, the first with the lower number. They have no name, no path, no port."""
    first, second = socket.socketpair()
    return _lift_both(first.detach(), second.detach())


def _lift_both(first: int, second: int) -> "tuple[Owned, Owned]":
    try:
        first = lift(first)
    except BaseException:
        os.close(second)
        raise
    try:
        return Owned(first), Owned(lift(second))
    except BaseException:
        os.close(first)
        raise


class Owned:
    """A descriptor that we close if, and only if, it is still the file it was when we made it.

    The number may be lent to someone who closes it first (a stream): then `close` finds another file there, or none,
    and leaves it alone.
    """

    __slots__ = ("_identity", "number")

    def __init__(self, number: int) -> None:
        self.number: int = number
        self._identity = _identify(number)

    def is_ours(self) -> bool:
        """Tell whether the number still means the file it was made for."""
        return self._identity is not None and _identify(self.number) == self._identity

    def close(self) -> None:
        """Close it, once, if it is still ours."""
        if self.is_ours():
            os.close(self.number)
        self._identity = None

    def mute(self) -> None:
        """Let go of the file but keep the number busy, for a copied process whose objects still name the number."""
        if self.is_ours():
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, self.number, inheritable=False)
            os.close(null)
        self._identity = None


def _identify(number: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino
