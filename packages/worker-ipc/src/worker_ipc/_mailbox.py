"""Who waits for which message, and what nobody claimed yet. Synchronous: no I/O, no event loop.

A message goes to the oldest `Claim` for its type (a claim is one wait for one message), and to every `Subscription`
to it. What nobody took is kept, within bounds, for whoever asks next; when the bounds are reached the newest is
dropped and counted. ``None`` as a type means any.

`worker_ipc.blocking` uses this module too, so it imports nothing heavy.
"""

from __future__ import annotations

from collections import deque

from ._claims import DELIVERED, FAILED, TAKEN, WAITING, WITHDRAWN, Claim, Copies, Subscription
from ._shelf import Shelf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._rpc import Message

MAX_MESSAGES = 1000
MAX_BYTES = 16 * 2**20


class Mailbox:
    """See the module. `on_room` is called when the last full subscription has room again."""

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.kept: Shelf = Shelf(max_messages, max_bytes)  # what nobody claimed
        self.queued_bytes: int = 0  # in all subscriptions
        self.full: int = 0  # subscriptions that are full
        self.ended: bool = False
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
        if self._subscriptions:
            return self._publish(kind, message, size)
        claim = self._oldest_claim(kind) if self._claims else None
        if claim is None:
            return self.kept.put(kind, message, size)
        self._deliver(claim, message, size, None)
        return True

    def _publish(self, kind: str | None, message: Message, size: int) -> bool:
        targets = list(self._subscriptions.get(kind, ()))
        if kind is not None:
            targets += self._subscriptions.get(None, ())
        claim = self._oldest_claim(kind) if self._claims else None
        holders = len(targets) + (claim is not None)
        if not holders:
            return self.kept.put(kind, message, size)
        copies = Copies(holders) if holders > 1 else None
        for target in targets:
            target.queue.append((message, size, copies))
            target.bytes += size
            self.queued_bytes += size
            if not target.full and self._is_full(target):
                target.full = True
                self.full += 1
            if target.waiters:
                target.wake()
        if claim is not None:
            self._deliver(claim, message, size, copies)
        return True

    def _is_full(self, subscription: Subscription) -> bool:
        return len(subscription.queue) >= self.max_messages or subscription.bytes >= self.max_bytes

    def _oldest_claim(self, kind: str | None) -> Claim | None:
        line = self._claims.get(kind)
        if kind is not None and None in self._claims:
            any_line = self._claims[None]
            if line is None or any_line[0].order < line[0].order:
                line = any_line
        return None if line is None else self._remove(line[0])

    def _remove(self, claim: Claim) -> Claim:
        line = self._claims[claim.type]
        if line[0] is claim:
            line.popleft()
        else:
            line.remove(claim)
        if not line:  # an empty line is no line: `put` asks only whether there is one
            del self._claims[claim.type]
        return claim

    def _deliver(self, claim: Claim, message: Message, size: int, copies: Copies | None) -> None:
        claim.message = message
        claim.copies = copies
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
        """Give a claim up. A message that was delivered to it, and that nobody else has, goes to the next in line."""
        state, claim.state = claim.state, (TAKEN if claim.state == TAKEN else WITHDRAWN)
        if state == WAITING:
            self._remove(claim)
            claim.wake()
        elif state == DELIVERED and claim.message is not None:
            message, claim.message = claim.message, None
            if _is_lost(claim.copies):
                self._hand_on(message, claim.size)

    def _hand_on(self, message: Message, size: int) -> None:
        kind = message.get("type")
        if kind.__class__ is not str:
            kind = None
        heir = self._oldest_claim(kind)
        if heir is not None:
            self._deliver(heir, message, size, None)
        else:
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
        message, size, copies = subscription.queue.popleft()
        if copies is not None:
            copies.read = True
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
        for message, size, copies in unread:
            if _is_lost(copies):
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


def _is_lost(copies: Copies | None) -> bool:
    """Give one copy up; tell whether nobody has read the message or still may."""
    if copies is None:
        return True
    copies.holders -= 1
    return not copies.holders and not copies.read


def _nothing() -> None:
    return None
