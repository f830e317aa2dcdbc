"""A forked copy of this process: it has our objects and our descriptors, and must do no harm with either.

`os.fork()` without an exec (multiprocessing's "fork", a daemon) copies every descriptor, close-on-exec or not. A copy
that kept them would hold a channel open after we closed it, keep a lifeline intact after we died, and could take part
in a conversation that is not its own. So in the copy each number is pointed at the null device: our objects there
still find a file, which is always at its end.
"""

import os
import weakref
from typing import Protocol

__all__ = ("mute_in_copies",)


class _Mutable(Protocol):
    def mute(self) -> None:
        """Let go of every shared thing."""
        ...


_living: "weakref.WeakSet[_Mutable]" = weakref.WeakSet()


def mute_in_copies(owner: _Mutable) -> None:
    """Have `owner.mute()` called in every copy of this process that is forked while `owner` lives."""
    _living.add(owner)


def _mute_all() -> None:
    for owner in list(_living):
        owner.mute()


os.register_at_fork(after_in_child=_mute_all)
