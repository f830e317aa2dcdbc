"""One conversation on a channel that will see many: it starts clean, and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from ._mailbox import Mailbox


class Owner(Protocol):
    """The channel, as a conversation sees it."""

    _mailbox: Mailbox
    _registered: list[Callable[[], None]] | None


@final
class Conversation:
    """A scope, from `Channel.conversation`. A mark in the mailbox's order of registration: nothing is kept in lists."""

    __slots__ = ("_mark", "_outer", "_owner")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def __enter__(self) -> Self:
        owner = self._owner
        mailbox = owner._mailbox
        if mailbox.kept:
            mailbox.clear()
        self._mark = mailbox.mark
        self._outer = owner._registered
        owner._registered = []
        return self

    def __exit__(self, *_: object) -> None:
        owner = self._owner
        registered, owner._registered = owner._registered, self._outer
        if owner._mailbox.occupied:
            owner._mailbox.withdraw_since(self._mark)
        if registered:
            for remove in reversed(registered):
                remove()
