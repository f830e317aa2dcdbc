"""A claim is one wait for one message, a subscription the queue of whoever takes them all. The places of a `Mailbox`.

    claim:    waiting -> delivered -> taken
                 |           `------> withdrawn (cancelled in the instant of delivery: the message goes to the next)
                 |-> withdrawn
                 `-> failed (the channel ended)

A task that waits has put a waiter there (see `_readiness`), which is settled when there is something to see. The
message is given to the claim, not to the first task that looks: trio runs the tasks that were woken in any order.
"""

from __future__ import annotations

from bisect import insort
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Protocol, TypeAlias

    from ._rpc import Message

    class Waiter(Protocol):
        """What wakes a task; the whole of it is in `_readiness`."""

        def done(self) -> bool: ...
        def set_result(self, value: None, /) -> None: ...

    Entry: TypeAlias = tuple[int, Message, int, "Copies | None"]
    """A message on its way: when it arrived (no two at once), what it is, its size, who else has it."""


WAITING, DELIVERED, TAKEN, WITHDRAWN, FAILED = range(5)


class Copies:
    """Who has the same message: it is lost if all of them give it up unread, and then handed on instead."""

    __slots__ = ("holders", "read")

    def __init__(self, holders: int) -> None:
        self.holders: int = holders
        self.read: bool = False


def is_lost(entry: Entry) -> bool:
    """Give one copy up; tell whether nobody has read the message or still may."""
    copies = entry[3]
    if copies is None:
        return True
    copies.holders -= 1
    return not copies.holders and not copies.read


def kind_of(message: Message) -> str | None:
    """Return its type. A Node program may send objects without one: only who waits for any gets them."""
    kind = message.get("type")
    return kind if kind.__class__ is str else None


class Claim:
    """One wait for one message."""

    __slots__ = ("entry", "order", "state", "type", "waiter")

    def __init__(self, type: str | None, order: int) -> None:
        self.type: str | None = type
        self.order: int = order
        self.state: int = WAITING
        self.entry: Entry | None = None
        self.waiter: Waiter | None = None

    def deliver(self, entry: Entry) -> None:
        """Give it its message, and let its task look."""
        self.entry = entry
        self.state = DELIVERED
        self.wake()

    def take(self) -> Message:
        """Take the message that was delivered. Only once."""
        entry, self.entry, self.state = self.entry, None, TAKEN
        assert entry is not None, "delivered, and not taken before"
        _, message, _, copies = entry
        if copies is not None:
            copies.read = True
        return message

    def wake(self) -> None:
        """Let its task look."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Line:
    """Messages in the order in which they arrived, or else the claims that wait for the next: first come, first served.

    There is never both: a message that comes while somebody waits is given, not queued. The owner queues, and takes
    out: that is done once per message, and a call more would be felt.
    """

    __slots__ = ("bytes", "claims", "given", "queue")

    def __init__(self) -> None:
        self.queue: deque[Entry] = deque()
        self.bytes: int = 0  # in the queue
        self.claims: deque[Claim] = deque()
        self.given: deque[Claim] = deque()  # who was given a message, and whose task may not have run yet

    def give(self, entry: Entry) -> bool:
        """Deliver a message to whoever has waited longest. False: nobody waits."""
        while self.claims:
            claim = self.claims.popleft()
            waiter = claim.waiter
            assert waiter is not None, "joined with one"
            if not waiter.done():
                claim.deliver(entry)
                while self.given and self.given[0].state != DELIVERED:
                    self.given.popleft()
                self.given.append(claim)
                return True
            claim.state = WITHDRAWN  # its task is cancelled, and about to say so
        return False

    def put_back(self, entry: Entry) -> None:
        """Queue a message that was delivered and not taken: where it was."""
        insort(self.queue, entry)
        self.bytes += entry[2]

    def join(self, waiter: Waiter) -> Claim:
        """Wait for the next message."""
        claim = Claim(None, 0)
        claim.waiter = waiter
        self.claims.append(claim)
        return claim

    def leave(self, claim: Claim) -> Entry | None:
        """Wait no more. Returns the message that was delivered meanwhile, if any: it belongs to the next."""
        if claim.state == WAITING:
            self.claims.remove(claim)
        claim.state = WITHDRAWN
        entry, claim.entry = claim.entry, None
        return entry

    def recall(self) -> list[Entry]:
        """Take back what was delivered and not taken yet: its tasks come too late."""
        entries = [entry for claim in self.given if (entry := self.leave(claim)) is not None]
        self.given.clear()
        return entries

    def withdraw(self, but: Container[Claim]) -> None:
        """End every wait `but` those; what was delivered to one and not taken is dropped."""
        for claim in [*self.given, *self.claims]:
            if claim not in but and claim.state in (WAITING, DELIVERED):
                self.leave(claim)
                claim.wake()

    def dismiss(self, state: int) -> None:
        """No more messages come: let everyone look who waits."""
        while self.claims:
            claim = self.claims.popleft()
            claim.state = state
            claim.wake()


class Subscription(Line):
    """A queue of all messages of one type, from now on and from what is kept."""

    __slots__ = ("closed", "full", "order", "type")

    def __init__(self, type: str | None, order: int) -> None:
        super().__init__()
        self.type: str | None = type
        self.order: int = order
        self.full: bool = False
        self.closed: bool = False
