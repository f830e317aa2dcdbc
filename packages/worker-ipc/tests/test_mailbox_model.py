"""The mailbox against a model of a few lines: whoever comes, waits, gives up or is dropped first."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from worker_ipc._claims import DELIVERED, WAITING
from worker_ipc._mailbox import Mailbox


class Waiter:
    """What a task leaves in its wait."""

    def __init__(self):
        self.settled = False

    def done(self):
        return self.settled

    def set_result(self, _):
        assert not self.settled
        self.settled = True


class Conversations(RuleBasedStateMachine):
    """Against a model: every message is somewhere, nobody gets it twice, and the oldest is always the next."""

    claims = Bundle("claims")
    subscriptions = Bundle("subscriptions")
    waits = Bundle("waits")  # in a subscription
    types = st.sampled_from(["a", None, "b"])

    def __init__(self):
        super().__init__()
        self.box = Mailbox(max_messages=5, max_bytes=1000)
        self.number = 0
        self.seen = Counter()
        self.holders = {}
        self.all_claims = []
        self.all_subscriptions = []
        self.all_waits = []

    def live(self):
        return [subscription for subscription in self.all_subscriptions if not subscription.closed]

    def waiting(self, subscription):
        """Who waits in a subscription, and whose task was not cancelled: in the order in which they came."""
        line = [claim for owner, claim in self.all_waits if owner is subscription]
        return [claim for claim in line if claim.state == WAITING and not claim.waiter.settled]

    def kept(self, type):
        lines = self.box.kept._lines
        return [entry[1]["number"] for kind in lines for entry in lines[kind] if type in (kind, None)]

    @rule(type=st.sampled_from(["a", "b", 7]), size=st.integers(1, 400))
    def receive(self, type, size):
        self.number += 1
        first = [line[0] for sub in self.live() if sub.type in (type, None) and (line := self.waiting(sub))]
        targets = sum(sub.type in (type, None) for sub in self.live())
        claims = any(claim.state == WAITING and claim.type in (type, None) for claim in self.all_claims)
        self.holders[self.number] = max(targets + claims, 1)
        self.box.put({"type": type, "number": self.number}, size)
        assert all(claim.entry[1]["number"] == self.number for claim in first)

    @rule(target=claims, type=types)
    def claim(self, type):
        kept = self.kept(type)
        claim = self.box.claim(type)
        self.all_claims.append(claim)
        assert (claim.state == DELIVERED) == bool(kept)
        assert not kept or claim.entry[1]["number"] == min(kept)
        return claim

    @rule(claim=consumes(claims))
    def take(self, claim):
        if claim.state == DELIVERED:
            self.seen[claim.take()["number"]] += 1
        self.box.withdraw(claim)

    @rule(claim=consumes(claims))
    def withdraw(self, claim):
        self.box.withdraw(claim)

    @rule(place=st.one_of(consumes(claims), consumes(subscriptions)))
    def drop(self, place):
        self.box.drop(place)
        self.box.tidy()

    @rule(target=subscriptions, type=types)
    def subscribe(self, type):
        subscription = self.box.subscribe(type)
        self.all_subscriptions.append(subscription)
        return subscription

    @rule(subscription=subscriptions)
    def read(self, subscription):
        if subscription.closed:
            return
        available = self.kept(subscription.type) + [entry[1]["number"] for entry in subscription.queue]
        received = self.box.next(subscription)
        assert (received is None) == (not available)
        if received is not None:
            assert received["number"] == min(available)
            self.seen[received["number"]] += 1

    @rule(subscription=consumes(subscriptions))
    def unsubscribe(self, subscription):
        self.box.unsubscribe(subscription)

    @rule(target=waits, subscription=subscriptions)
    def wait_in(self, subscription):
        if subscription.closed or subscription.queue or self.kept(subscription.type):
            return multiple()
        wait = subscription, subscription.join(Waiter())
        self.all_waits.append(wait)
        return wait

    @rule(wait=waits)
    def cancel(self, wait):
        wait[1].waiter.settled = True  # its task hears of it later

    @rule(wait=consumes(waits), is_cancelled=st.booleans())
    def wake(self, wait, is_cancelled):
        subscription, claim = wait
        claim.waiter.settled = True
        if claim.state == DELIVERED and not is_cancelled:
            self.seen[claim.take()["number"]] += 1
        else:
            self.box.leave(subscription, claim)

    @invariant()
    def nothing_is_lost_and_nothing_invented(self):
        claims = self.all_claims + [claim for _, claim in self.all_waits]
        entries = [claim.entry for claim in claims if claim.entry is not None]
        entries += [entry for sub in self.all_subscriptions for entry in sub.queue]
        held = Counter([entry[1]["number"] for entry in entries] + self.kept(None))
        known = set(held) | set(self.seen)
        assert known <= set(range(1, self.number + 1))
        assert len(known) + self.box.kept.dropped >= self.number
        assert all(held[number] + self.seen[number] <= self.holders[number] for number in known)

    @invariant()
    def the_counters_agree_with_what_is_there(self):
        kept = [entry for line in self.box.kept._lines.values() for entry in line]
        assert self.box.kept.count == len(kept)
        assert self.box.kept.bytes == sum(size for _, _, size, _ in kept)
        assert self.box.queued_bytes == sum(size for sub in self.live() for _, _, size, _ in sub.queue)
        assert self.box.full == sum(subscription.full for subscription in self.live())
        assert all(subscription.full == self.box._is_full(subscription) for subscription in self.live())

    @invariant()
    def nobody_waits_for_what_is_there(self):
        for claim in self.all_claims:
            assert claim.state != WAITING or not self.kept(claim.type)
        for subscription in self.all_subscriptions:
            if self.waiting(subscription):
                assert not subscription.closed
                assert not self.kept(subscription.type)
                assert not subscription.queue


Conversations.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestConversations = Conversations.TestCase
