"""A claim is one wait for one message, a subscription the queue of who takes them all. The places of a `Mailbox`.

    claim:    waiting -> delivered -> taken
                 |           `------> withdrawn (cancelled in the instant of delivery: the message goes to the next)
                 |-> withdrawn
                 `-> failed (the channel ended)

A task that waits has put a waiter there (see `_readiness`), which is settled when there is something to see.
"""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ._rpc import Message

    class Waiter(Protocol):
        """What wakes a task; the whole of it is in `_readiness`."""

        def done(self) -> bool: ...
        def set_result(self, value: None, /) -> None: ...


WAITING, DELIVERED, TAKEN, WITHDRAWN, FAILED = range(5)


class Copies:
    """Who has the same message: it is lost if all of them give it up unread, and then handed on instead."""

    __slots__ = ("holders", "read")

    def __init__(self, holders: int) -> None:
        self.holders: int = holders
        self.read: bool = False


class Claim:
    """One wait for one message."""

    __slots__ = ("copies", "message", "order", "size", "state", "type", "waiter")

    def __init__(self, type: str | None, order: int) -> None:
        self.type: str | None = type
        self.order: int = order
        self.state: int = WAITING
        self.message: Message | None = None
        self.size: int = 0
        self.copies: Copies | None = None
        self.waiter: Waiter | None = None

    def take(self) -> Message:
        """Take the message that was delivered. Only once."""
        message, self.message, self.state = self.message, None, TAKEN
        assert message is not None, "delivered, and not taken before"
        if self.copies is not None:
            self.copies.read = True
        return message

    def wake(self) -> None:
        """Let its task look."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Subscription:
    """A queue of all messages of one type, from now on and from what is kept."""

    __slots__ = ("bytes", "closed", "full", "order", "queue", "type", "waiters")

    def __init__(self, type: str | None, order: int) -> None:
        self.type: str | None = type
        self.order: int = order
        self.queue: deque[tuple[Message, int, Copies | None]] = deque()  # message, size, who else has it
        self.bytes: int = 0
        self.full: bool = False
        self.closed: bool = False
        self.waiters: deque[Waiter] = deque()

    def wake(self) -> None:
        """Let the task that has waited longest look."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
