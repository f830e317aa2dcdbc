"""One conversation on a channel that will see many: it starts clean, and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from typing import Self

    from ._core import Core


@final
class Conversation:
    """A scope, from `Channel.conversation`. A mark in the mailbox's order of registration: nothing is kept in lists."""

    __slots__ = ("_core", "_mark", "_outer")

    def __init__(self, core: Core) -> None:
        self._core = core

    def __enter__(self) -> Self:
        core = self._core
        mailbox = core.mailbox
        mailbox.forget()
        self._mark = mailbox.mark
        self._outer = core.removers
        core.removers = []
        return self

    def __exit__(self, *_: object) -> None:
        core = self._core
        removers, core.removers = core.removers, self._outer
        if core.mailbox.occupied:
            core.mailbox.withdraw_since(self._mark)
        if removers:
            for remove in reversed(removers):
                remove()
