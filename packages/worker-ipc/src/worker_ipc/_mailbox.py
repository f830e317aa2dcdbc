"""Who waits for which message, and what nobody claimed yet. Synchronous: no I/O, no event loop.

A message goes to the oldest `Claim` for its type (a claim is one wait for one message), and to every `Subscription`
to it. What nobody took is kept, within bounds, for whoever asks next; when the bounds are reached the newest is
dropped and counted. ``None`` as a type means any.

    claim:    waiting -> delivered -> taken
                 |           `------> withdrawn (cancelled in the instant of delivery: the message goes to the next)
                 |-> withdrawn
                 `-> failed (the channel ended)

A task that waits has put a waiter there (see `_readiness`), which is settled when there is something to see.
`worker_ipc.blocking` uses this module too, without waiters; so it imports nothing at run time.
"""

from __future__ import annotations

from collections import deque

from ._shelf import Shelf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol, TypeAlias

    Message: TypeAlias = dict[str, Any]

    class Waiter(Protocol):
        """What wakes a task; the whole of it is in `_readiness`."""

        def done(self) -> bool: ...
        def set_result(self, value: None, /) -> None: ...


MAX_MESSAGES = 1000
MAX_BYTES = 16 * 2**20

WAITING, DELIVERED, TAKEN, WITHDRAWN, FAILED = range(5)


class Claim:
    """One wait for one message."""

    __slots__ = ("message", "order", "shared", "size", "state", "type", "waiter")

    def __init__(self, type: str | None, order: int) -> None:
        self.type = type
        self.order = order
        self.state = WAITING
        self.message: Message | None = None
        self.size = 0
        self.shared = False  # a subscription has this message too
        self.waiter: Waiter | None = None

    def wake(self) -> None:
        """Let its task look."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Subscription:
    """A queue of all messages of one type, from now on and from what is kept."""

    __slots__ = ("bytes", "closed", "full", "order", "queue", "type", "waiters")

    def __init__(self, type: str | None, order: int) -> None:
        self.type = type
        self.order = order
        self.queue: deque[tuple[Message, int, bool]] = deque()  # message, size, shared with another listener
        self.bytes = 0
        self.full = False
        self.closed = False
        self.waiters: deque[Waiter] = deque()

    def wake(self) -> None:
        """Let the task that has waited longest look."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


class Mailbox:
    """See the module. `on_room` is called when the last full subscription has room again."""

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.kept = Shelf(max_messages, max_bytes)  # what nobody claimed
        self.queued_bytes = 0  # in all subscriptions
        self.full = 0  # subscriptions that are full
        self.ended = False
        self.on_room: Callable[[], None] = _nothing
        self._order = 0
        self._claims: dict[str | None, deque[Claim]] = {}
        self._subscriptions: dict[str | None, list[Subscription]] = {}

    # --- a message arrives

    def put(self, message: Message, size: int = 0) -> bool:
        """Give a message to whoever is there for it. False: nobody was, and there was no room to keep it."""
        kind = message.get("type")
        if kind.__class__ is not str:  # a Node program may send objects without a type: only `None` matches them
            kind = None
        shared = False
        if self._subscriptions:
            shared = self._publish(kind, message, size)
        claim = self._oldest_claim(kind) if self._claims else None
        if claim is not None:
            claim.shared = shared
            self._deliver(claim, message, size)
            return True
        return shared or self.kept.put(kind, message, size)

    def _publish(self, kind: str | None, message: Message, size: int) -> bool:
        targets = self._subscriptions.get(kind, ())
        if kind is not None and None in self._subscriptions:
            targets = [*targets, *self._subscriptions[None]]
        shared = len(targets) > 1 or bool(self._claims and self._oldest_claim(kind, remove=False))
        for target in tuple(targets):
            target.queue.append((message, size, shared))
            target.bytes += size
            self.queued_bytes += size
            if not target.full and self._is_full(target):
                target.full = True
                self.full += 1
            if target.waiters:
                target.wake()
        return bool(targets)

    def _is_full(self, subscription: Subscription) -> bool:
        return len(subscription.queue) >= self.max_messages or subscription.bytes >= self.max_bytes

    def _oldest_claim(self, kind: str | None, remove: bool = True) -> Claim | None:
        line = self._claims.get(kind)
        if kind is not None and None in self._claims:
            any_line = self._claims[None]
            if line is None or any_line[0].order < line[0].order:
                line = any_line
        if line is None:
            return None
        return self._remove(line[0]) if remove else line[0]

    def _remove(self, claim: Claim) -> Claim:
        line = self._claims[claim.type]
        if line[0] is claim:
            line.popleft()
        else:
            line.remove(claim)
        if not line:  # an empty line is no line: `put` asks only whether there is one
            del self._claims[claim.type]
        return claim

    def _deliver(self, claim: Claim, message: Message, size: int) -> None:
        claim.message = message
        claim.size = size
        claim.state = DELIVERED
        if claim.waiter is not None:
            claim.wake()

    # --- somebody asks for one

    def claim(self, type: str | None) -> Claim:
        """Wait for one message of this type: the claim is delivered at once if one is kept."""
        self._order += 1
        claim = Claim(type, self._order)
        kept = self.kept.take(type) if self.kept.count else None
        if kept is not None:
            claim.message = kept
            claim.state = DELIVERED
        elif self.ended:
            claim.state = FAILED
        else:
            line = self._claims.get(type)
            if line is None:
                line = self._claims[type] = deque()
            line.append(claim)
        return claim

    def withdraw(self, claim: Claim) -> None:
        """Give a claim up. A message that it was delivered and nobody took goes to the next in line."""
        state, claim.state = claim.state, (TAKEN if claim.state == TAKEN else WITHDRAWN)
        if state == WAITING:
            self._remove(claim)
            claim.wake()
        elif state == DELIVERED and claim.message is not None:
            message, claim.message = claim.message, None
            self._hand_on(message, claim.size, claim.shared)

    def _hand_on(self, message: Message, size: int, shared: bool) -> None:
        kind = message.get("type")
        if kind.__class__ is not str:
            kind = None
        heir = self._oldest_claim(kind)
        if heir is not None:
            heir.shared = shared
            self._deliver(heir, message, size)
        elif not shared:  # a subscription has it: then it was not lost
            self.kept.put_back(kind, message, size)

    # --- somebody listens to all of them

    def subscribe(self, type: str | None) -> Subscription:
        """Receive every message of this type in a queue, what is kept first."""
        self._order += 1
        subscription = Subscription(type, self._order)
        if not self.ended:
            self._subscriptions.setdefault(type, []).append(subscription)
        return subscription

    def next(self, subscription: Subscription) -> Message | None:
        """Return the next message for a subscription, or None. What is kept for its type is older than its queue."""
        if self.kept.count:
            message = self.kept.take(subscription.type)
            if message is not None:
                return message
        if not subscription.queue:
            return None
        message, size, _ = subscription.queue.popleft()
        subscription.bytes -= size
        self.queued_bytes -= size
        if subscription.full and not self._is_full(subscription):
            self._has_room(subscription)
        return message

    def _has_room(self, subscription: Subscription) -> None:
        subscription.full = False
        self.full -= 1
        if not self.full:
            self.on_room()

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription. What it had not read, and nobody else has, is handed to whoever asks next."""
        if subscription.closed:
            return
        subscription.closed = True
        line = self._subscriptions.get(subscription.type)
        if line is not None and subscription in line:
            line.remove(subscription)
            if not line:
                del self._subscriptions[subscription.type]
        self.queued_bytes -= subscription.bytes
        unread, subscription.queue = subscription.queue, deque()
        for message, size, shared in unread:
            if not shared:
                self.put(message, size)
        if subscription.full:
            self._has_room(subscription)
        while subscription.waiters:
            subscription.wake()

    # --- the state of it all

    @property
    def waiting(self) -> bool:
        """Tell whether anybody waits right now."""
        return bool(self._claims) or any(subscription.waiters for subscription in self._all_subscriptions())

    @property
    def occupied(self) -> bool:
        """Tell whether there is any claim or subscription."""
        return bool(self._claims or self._subscriptions)

    @property
    def mark(self) -> int:
        """A point in time: whoever comes after it can be withdrawn by `withdraw_since`."""
        return self._order

    def withdraw_since(self, mark: int) -> None:
        """Withdraw every claim and subscription that came after a mark."""
        for claim in [claim for line in self._claims.values() for claim in line if claim.order > mark]:
            self.withdraw(claim)
        for subscription in [each for each in self._all_subscriptions() if each.order > mark]:
            self.unsubscribe(subscription)

    def end(self) -> None:
        """No more messages come: fail every claim, wake every subscription. What is kept or queued stays readable."""
        self.ended = True
        lines, self._claims = self._claims, {}
        for claim in sorted((claim for line in lines.values() for claim in line), key=lambda claim: claim.order):
            claim.state = FAILED
            claim.wake()
        for subscription in self._all_subscriptions():
            while subscription.waiters:
                subscription.wake()

    def _all_subscriptions(self) -> Iterator[Subscription]:
        for line in self._subscriptions.values():
            yield from line


def _nothing() -> None:
    return None
