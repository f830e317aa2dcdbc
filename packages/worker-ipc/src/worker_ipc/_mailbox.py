"""Who waits for which message, and what nobody claimed yet. Synchronous: no I/O, no event loop.

A message goes to the oldest `Claim` for its type (a claim is one wait for one message), and to every `Subscription`
to it. What nobody took is kept, within bounds, for whoever asks next; when the bounds are reached the newest is
dropped and counted. ``None`` as a type means any.

Who drops a wait or a listener gives it up, and that is noticed by a finalizer: see `drop`.

`worker_ipc.blocking` uses this module too, so it imports nothing heavy.
"""

from __future__ import annotations

from collections import deque

from ._claims import DELIVERED, FAILED, TAKEN, WAITING, WITHDRAWN, Claim, Copies, Subscription, is_lost, kind_of
from ._events import check_type
from ._shelf import Shelf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._claims import Entry
    from ._rpc import Message

MAX_MESSAGES = 1000
MAX_BYTES = 16 * 2**20


class Mailbox:
    """See the module.

    `on_room` is called when the last full subscription has room again, `on_drop` by finalizers: have `tidy` called.
    """

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.kept: Shelf = Shelf(max_messages, max_bytes)  # what nobody claimed
        self.queued_bytes: int = 0  # in all subscriptions
        self.full: int = 0  # subscriptions that are full
        self.ended: bool = False
        self.on_room: Callable[[], None] = _nothing
        self.on_drop: Callable[[], object] = _nothing
        self.dropped: deque[Claim | Subscription] = deque()  # given up, and not withdrawn yet
        self._forgotten = 0  # the order of the last message that is handed on no more
        self._order = 0  # ticks for everybody who comes and every message that arrives
        self._claims: dict[str | None, deque[Claim]] = {}
        self._subscriptions: dict[str | None, list[Subscription]] = {}

    # --- a message arrives

    def put(self, message: Message, size: int = 0) -> bool:
        """Give a message to whoever is there for it. False: nobody was, and there was no room to keep it."""
        if self.dropped:
            self.tidy()
        kind = message.get("type")  # as `kind_of` does: this is the hot path
        if kind.__class__ is not str:
            kind = None
        self._order = order = self._order + 1
        if self._subscriptions:
            return self._publish(kind, order, message, size)
        claim = self._oldest_claim(kind) if self._claims else None
        if claim is None:
            return self.kept.put(kind, (order, message, size, None))
        claim.deliver((order, message, size, None))
        return True

    def _publish(self, kind: str | None, order: int, message: Message, size: int) -> bool:
        targets = list(self._subscriptions.get(kind, ()))
        if kind is not None:
            targets += self._subscriptions.get(None, ())
        claim = self._oldest_claim(kind) if self._claims else None
        holders = len(targets) + (claim is not None)
        entry = (order, message, size, Copies(holders) if holders > 1 else None)
        if not holders:
            return self.kept.put(kind, entry)
        for target in targets:
            if not (target.claims and target.give(entry)):
                target.queue.append(entry)
                target.bytes += size
                self.queued_bytes += size
                if not target.full and self._is_full(target):
                    self._has_no_room(target)
        if claim is not None:
            claim.deliver(entry)
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

    # --- somebody asks for one

    def claim(self, type: str | None) -> Claim:
        """Wait for one message of this type: the claim is delivered at once if one is kept."""
        check_type(type)
        self.tidy()
        self._order += 1
        claim = Claim(type, self._order)
        kept = self.kept.take(type) if self.kept.count else None
        if kept is not None:
            claim.deliver(kept)
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
        elif state == DELIVERED and claim.entry is not None:
            entry, claim.entry = claim.entry, None
            if is_lost(entry):
                self._hand_on(entry, self.kept.put_back)

    def _hand_on(self, entry: Entry, keep: Callable[[str | None, Entry], object]) -> None:
        """Give a message that nobody has any more to whoever waits for one, or else keep it for whoever asks next."""
        order, message, size, _ = entry
        if order <= self._forgotten:
            return
        entry = order, message, size, None
        kind = kind_of(message)
        heir = self._oldest_claim(kind)
        if heir is not None:
            heir.deliver(entry)
        elif not any(line.give(entry) for type in (kind, None) for line in self._subscriptions.get(type, ())):
            keep(kind, entry)

    # --- somebody listens to all of them

    def subscribe(self, type: str | None) -> Subscription:
        """Receive every message of this type in a queue, what is kept first."""
        check_type(type)
        self._order += 1
        subscription = Subscription(type, self._order)
        if not self.ended:
            self._subscriptions.setdefault(type, []).append(subscription)
        return subscription

    def next(self, subscription: Subscription) -> Message | None:
        """Return the next message for a subscription, or None. What is kept for its type is older than its queue."""
        if self.dropped:
            self.tidy()
        if self.kept.count and not subscription.closed:
            kept = self.kept.take(subscription.type)
            if kept is not None:
                return kept[1]
        if not subscription.queue:
            return None
        _, message, size, copies = subscription.queue.popleft()
        if copies is not None:
            copies.read = True
        subscription.bytes -= size
        self.queued_bytes -= size
        if subscription.full and not self._is_full(subscription):
            self._has_room(subscription)
        return message

    def _has_no_room(self, subscription: Subscription) -> None:
        subscription.full = True
        self.full += 1

    def _has_room(self, subscription: Subscription) -> None:
        subscription.full = False
        self.full -= 1
        if not self.full:
            self.on_room()

    def leave(self, subscription: Subscription, claim: Claim) -> None:
        """Give up a wait for its next message. What was delivered to it goes to the next in that line."""
        entry = subscription.leave(claim)
        if entry is None:
            return
        if not subscription.give(entry):
            subscription.put_back(entry)
            self.queued_bytes += entry[2]
            if not subscription.full and self._is_full(subscription):
                self._has_no_room(subscription)

    def unsubscribe(self, *subscriptions: Subscription) -> None:
        """End subscriptions. What they had not read, and nobody else has, is handed to whoever waits or asks next."""
        unread: list[Entry] = []
        for subscription in subscriptions:  # all of them, before anything is handed on
            if not subscription.closed:
                unread += self._close(subscription)
        for entry in sorted(unread):
            if is_lost(entry):
                self._hand_on(entry, self.kept.put)

    def _close(self, subscription: Subscription) -> Iterable[Entry]:
        subscription.closed = True
        line = self._subscriptions.get(subscription.type)
        if line is not None and subscription in line:
            line.remove(subscription)
            if not line:
                del self._subscriptions[subscription.type]
        self.queued_bytes -= subscription.bytes
        unread = [*subscription.recall(), *subscription.queue]
        subscription.queue.clear()
        if subscription.full:
            self._has_room(subscription)
        subscription.dismiss(WITHDRAWN)
        return unread

    # --- who was dropped

    def drop(self, place: Claim | Subscription) -> None:
        """Give a place up, from a finalizer.

        The collector runs in any thread and at any moment, also in the middle of a method of this class. So the place
        is only noted here; the next call sees to it, or `tidy`.
        """
        self.dropped.append(place)
        self.on_drop()

    def tidy(self) -> None:
        """Withdraw what was dropped."""
        while self.dropped:
            place = self.dropped.popleft()
            if isinstance(place, Claim):
                self.withdraw(place)
            else:
                self.unsubscribe(place)

    # --- the state of it all

    @property
    def waiting(self) -> bool:
        """Tell whether anybody waits right now."""
        self.tidy()
        return bool(self._claims) or any(subscription.claims for subscription in self._all_subscriptions())

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
        self.tidy()
        for claim in [claim for line in self._claims.values() for claim in line if claim.order > mark]:
            self.withdraw(claim)
        self.unsubscribe(*[each for each in self._all_subscriptions() if each.order > mark])

    def forget(self) -> None:
        """Drop what is kept, and for ever what has arrived until now: whoever has it and gives it up, loses it."""
        self.tidy()
        self._forgotten = self._order
        if self.kept.count:
            self.kept.clear()

    def end(self) -> None:
        """No more messages come: fail every claim, wake every subscription. What is kept or queued stays readable."""
        self.ended = True
        lines, self._claims = self._claims, {}
        for claim in sorted((claim for line in lines.values() for claim in line), key=lambda claim: claim.order):
            claim.state = FAILED
            claim.wake()
        for subscription in self._all_subscriptions():
            subscription.dismiss(FAILED)

    def _all_subscriptions(self) -> Iterator[Subscription]:
        for line in self._subscriptions.values():
            yield from line


def _nothing() -> None:
    return None
