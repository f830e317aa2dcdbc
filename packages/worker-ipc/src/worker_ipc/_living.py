"""What happens to every living child when this process is copied, or ends without a goodbye.

**Copied.** `os.fork()` without an exec (multiprocessing's "fork", a daemon) copies every descriptor, close-on-exec or
not. A copy that kept them would hold a channel open after we closed it, keep a lifeline intact after we died, and could
take part in a conversation that is not its own. So in the copy each number is pointed at the null device: our
objects there still find a file, which is always at its end.

**Ended.** A loop that was dropped with a block still open never runs the end of the block. When the interpreter ends,
such children are killed and reaped, with a `ResourceWarning`. (An interpreter that does not get that far, killed or
crashed, has the lifeline of `_orphans`.)
"""

import atexit
import os
import weakref
from typing import Protocol

__all__ = ("Perishable", "look_after")


class Perishable(Protocol):
    """An object with descriptors and a child."""

    def mute(self) -> None:
        """Let go of everything that is shared with the process that this one is a copy of."""
        ...

    def abandon(self) -> None:
        """End the child and warn, if nobody did the former; else do nothing."""
        ...


_living: "weakref.WeakSet[Perishable]" = weakref.WeakSet()


def look_after(owner: Perishable) -> None:
    """Mute `owner` in every copy of this process, and abandon it when the interpreter ends, for as long as it lives."""
    _living.add(owner)


def _mute_all() -> None:
    for owner in list(_living):
        owner.mute()


def _abandon_all() -> None:
    for owner in list(_living):
        owner.abandon()


os.register_at_fork(after_in_child=_mute_all)
atexit.register(_abandon_all)
