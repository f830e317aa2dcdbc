"""Who gets which message: the mailbox as a machine, without I/O and without a loop."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from worker_ipc._claims import DELIVERED, FAILED, WAITING, WITHDRAWN
from worker_ipc._mailbox import Mailbox


def message(type, number=0):
    return {"type": type, "number": number}


def taken(claim):
    """Do what the task of a claim does when it wakes."""
    assert claim.state == DELIVERED
    return claim.take()


class Waiter:
    def __init__(self):
        self.settled = False

    def done(self):
        return self.settled

    def set_result(self, _):
        assert not self.settled
        self.settled = True


@pytest.mark.wire("A1")
@pytest.mark.wire("A11")
def test_a_message_before_anybody_listens_is_kept_for_who_comes():
    box = Mailbox()
    assert box.put(message("ready"))
    assert taken(box.claim("ready")) == message("ready")
    assert box.claim("ready").state == WAITING


@pytest.mark.wire("A2")
@pytest.mark.wire("C8")
def test_one_message_settles_one_wait_and_waits_are_first_come_first_served():
    box = Mailbox()
    first, second = box.claim("a"), box.claim("a")
    box.put(message("a", 1))
    assert (first.state, second.state) == (DELIVERED, WAITING)
    box.put(message("a", 2))
    assert [taken(first)["number"], taken(second)["number"]] == [1, 2]


def test_two_kept_messages_serve_two_waits_in_order():
    box = Mailbox()
    box.put(message("a", 1))
    box.put(message("a", 2))
    assert [taken(box.claim("a"))["number"] for _ in "12"] == [1, 2]


def test_a_wait_for_any_type_takes_its_turn_among_the_others():
    box = Mailbox()
    any_type, typed = box.claim(None), box.claim("a")
    box.put(message("a", 1))
    assert taken(any_type)["number"] == 1
    later_any = box.claim(None)
    box.put(message("a", 2))
    assert taken(typed)["number"] == 2
    assert later_any.state == WAITING


def test_a_wait_for_any_type_takes_the_oldest_of_all_kept():
    box = Mailbox()
    for number, type in enumerate("bab"):
        box.put(message(type, number))
    assert [taken(box.claim(None))["number"] for _ in "bab"] == [0, 1, 2]


@pytest.mark.parametrize("type", [None, 7, ["unhashable"], {"a": 1}])
@pytest.mark.fault(68)
def test_a_message_without_a_proper_type_reaches_only_who_takes_any(type):
    box = Mailbox()
    typed, any_type = box.claim("a"), box.claim(None)
    box.put({"type": type})
    assert (typed.state, taken(any_type)) == (WAITING, {"type": type})
    box.put({"type": type})
    assert taken(box.claim(None)) == {"type": type}


def test_a_subscription_gets_what_was_kept_and_all_that_follows():
    box = Mailbox()
    box.put(message("a", 1))
    subscription = box.subscribe("a")
    box.put(message("a", 2))
    box.put(message("b", 3))
    assert [box.next(subscription)["number"] for _ in "12"] == [1, 2]
    assert box.next(subscription) is None


def test_every_subscription_and_the_oldest_wait_get_the_message():
    box = Mailbox()
    typed, every = box.subscribe("a"), box.subscribe(None)
    claim = box.claim("a")
    box.put(message("a"))
    assert box.next(typed) == box.next(every) == taken(claim) == message("a")
    assert not box.kept.count


@pytest.mark.fault(97)
def test_a_wait_cancelled_in_the_instant_of_delivery_hands_its_message_to_the_next():
    box = Mailbox()
    first, second, third = (box.claim("a") for _ in range(3))
    box.put(message("a", 1))
    box.put(message("a", 2))
    box.withdraw(first)
    assert taken(second)["number"] == 2
    assert taken(third)["number"] == 1
    assert first.state == WITHDRAWN


@pytest.mark.fault(97)
def test_a_message_handed_back_is_the_first_that_the_next_one_gets():
    box = Mailbox()
    claim = box.claim("a")
    box.put(message("a", 1))
    box.put(message("a", 2))
    box.withdraw(claim)
    assert [taken(box.claim("a"))["number"] for _ in "12"] == [1, 2]


def test_a_message_handed_back_has_room_even_when_the_mailbox_is_full():
    box = Mailbox(max_messages=1)
    claim = box.claim("a")
    box.put(message("a", 1))
    box.put(message("a", 2))
    box.withdraw(claim)
    assert [taken(box.claim("a"))["number"] for _ in "12"] == [1, 2]
    assert not box.kept.dropped


def test_withdrawing_twice_hands_on_once():
    box = Mailbox()
    claim = box.claim("a")
    box.put(message("a"))
    box.withdraw(claim)
    box.withdraw(claim)
    assert box.kept.count == 1


def test_a_taken_message_is_not_handed_on():
    box = Mailbox()
    claim = box.claim("a")
    box.put(message("a"))
    taken(claim)
    box.withdraw(claim)
    assert not box.kept.count


def test_a_message_that_a_subscription_has_too_is_not_kept_when_its_wait_is_withdrawn():
    box = Mailbox()
    subscription, claim = box.subscribe("a"), box.claim("a")
    box.put(message("a"))
    box.withdraw(claim)
    assert not box.kept.count
    assert box.next(subscription) == message("a")


def test_a_subscription_that_ends_gives_what_it_did_not_read_to_who_asks_next():
    box = Mailbox()
    subscription = box.subscribe("a")
    for number in range(3):
        box.put(message("a", number))
    assert box.next(subscription)["number"] == 0
    box.unsubscribe(subscription)
    box.unsubscribe(subscription)
    assert [taken(box.claim("a"))["number"] for _ in "12"] == [1, 2]
    assert box.queued_bytes == 0


def test_what_another_listener_also_got_is_not_given_twice():
    box = Mailbox()
    ending, staying = box.subscribe("a"), box.subscribe("a")
    box.put(message("a"))
    box.unsubscribe(ending)
    assert box.next(staying) == message("a")
    assert box.next(staying) is None


@pytest.mark.wire("B2")
def test_when_it_is_full_the_newest_is_dropped_and_counted():
    box = Mailbox(max_messages=2)
    assert [box.put(message("a", number)) for number in range(4)] == [True, True, False, False]
    assert box.kept.dropped == 2
    assert [taken(box.claim("a"))["number"] for _ in "12"] == [0, 1]


@pytest.mark.fault(66)
def test_it_is_full_by_bytes_too_but_one_message_alone_is_always_kept():
    box = Mailbox(max_bytes=100)
    assert box.put(message("a", 1), 1000)
    assert not box.put(message("a", 2), 1)
    taken(box.claim("a"))
    assert box.put(message("a", 3), 60)
    assert not box.put(message("a", 4), 60)
    assert box.put(message("a", 5), 40)


def test_a_full_subscription_is_seen_and_so_is_its_room():
    box = Mailbox(max_messages=2)
    rooms = []
    box.on_room = lambda: rooms.append(box.full)
    subscription = box.subscribe("a")
    box.put(message("a"))
    assert box.full == 0
    box.put(message("a"))
    assert box.full == 1
    box.next(subscription)
    assert (box.full, rooms) == (0, [0])


def test_a_full_subscription_that_ends_makes_room():
    box = Mailbox(max_bytes=10)
    rooms = []
    box.on_room = lambda: rooms.append(1)
    subscription = box.subscribe("a")
    box.put(message("a"), 10)
    assert box.full == 1
    box.unsubscribe(subscription)
    assert (box.full, rooms, box.queued_bytes) == (0, [1], 0)


def test_the_end_fails_every_wait_and_leaves_what_was_received():
    box = Mailbox()
    claim, waiter = box.claim("a"), Waiter()
    claim.waiter = waiter
    box.put(message("b"))
    subscription = box.subscribe("c")
    box.put(message("c"))
    sleeping = box.subscribe("d").join(sleeper := Waiter())
    box.end()
    assert (claim.state, waiter.settled, sleeping.state, sleeper.settled) == (FAILED, True, FAILED, True)
    assert taken(box.claim("b")) == message("b")
    assert box.claim("b").state == FAILED
    assert box.next(subscription) == message("c")


def test_everybody_after_a_mark_can_be_withdrawn_and_those_before_stay():
    box = Mailbox()
    old, old_subscription = box.claim("a"), box.subscribe("b")
    mark = box.mark
    new, new_subscription = box.claim("a"), box.subscribe("b")
    box.withdraw_since(mark)
    assert (old.state, new.state) == (WAITING, WITHDRAWN)
    assert (old_subscription.closed, new_subscription.closed) == (False, True)


def test_a_cancelled_waiter_is_passed_over():
    box = Mailbox()
    subscription = box.subscribe("a")
    cancelled = subscription.join(waiter := Waiter())
    patient = subscription.join(Waiter())
    waiter.settled = True
    box.put(message("a", 1))
    box.leave(subscription, cancelled)
    assert taken(patient)["number"] == 1
    assert box.next(subscription) is None


def test_who_waits_in_one_listener_is_served_first_come_first_served_whoever_runs_first():
    box = Mailbox()
    subscription = box.subscribe("a")
    waits = [subscription.join(Waiter()) for _ in range(3)]
    for number in range(4):
        box.put(message("a", number))
    assert [taken(wait)["number"] for wait in reversed(waits)] == [2, 1, 0]
    assert box.next(subscription)["number"] == 3


@pytest.mark.fault(97)
def test_a_message_handed_back_wakes_who_waits_in_a_listener():
    for type in ("a", None):
        box = Mailbox()
        claim = box.claim("a")
        box.put(message("a", 1))
        waiting = box.subscribe(type).join(waiter := Waiter())
        box.withdraw(claim)
        assert (waiter.settled, taken(waiting)["number"]) == (True, 1)
        assert not box.kept.count


@pytest.mark.fault(97)
def test_messages_handed_back_one_after_another_stay_in_order():
    box = Mailbox()
    claims = [box.claim("a") for _ in range(3)]
    for number in range(3):
        box.put(message("a", number))
    for claim in claims:
        box.withdraw(claim)
    assert [taken(box.claim(type))["number"] for type in ("a", None, "a")] == [0, 1, 2]


@pytest.mark.fault(97)
def test_waits_in_a_listener_that_are_given_up_leave_their_messages_in_order_and_once():
    box = Mailbox()
    subscription, other = box.subscribe("a"), box.subscribe("a")
    waits = [subscription.join(Waiter()) for _ in range(2)]
    for number in range(3):
        box.put(message("a", number), 10)
    for wait in waits:
        box.leave(subscription, wait)
        box.leave(subscription, wait)
    assert box.queued_bytes == 60
    for each in (subscription, other):
        assert [box.next(each)["number"] for _ in range(3)] == [0, 1, 2]
        assert box.next(each) is None


def test_what_nobody_has_taken_when_a_listener_closes_goes_to_who_asks_next():
    box = Mailbox()
    subscription = box.subscribe("a")
    wait = subscription.join(Waiter())
    box.put(message("a", 1), 10)
    box.unsubscribe(subscription)
    assert (wait.state, box.queued_bytes, box.kept.bytes) == (WITHDRAWN, 0, 10)
    box.leave(subscription, wait)
    assert taken(box.claim("a"))["number"] == 1


def test_what_a_closed_listener_did_not_read_comes_before_what_is_newer():
    box = Mailbox()
    old = box.subscribe("a")
    box.put(message("a", 1))
    box.put(message("a", 2))
    new = box.subscribe("a")
    box.put(message("a", 3))
    box.unsubscribe(old)
    assert [box.next(new)["number"] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("is_old_first", [True, False])
def test_what_closed_listeners_did_not_read_is_kept_as_it_arrived(is_old_first):
    box = Mailbox()
    old = box.subscribe("a")
    box.put(message("a", 1))
    new = box.subscribe("a")
    box.put(message("a", 2))
    for subscription in (old, new) if is_old_first else (new, old):
        box.unsubscribe(subscription)
    assert [taken(box.claim("a"))["number"] for _ in "12"] == [1, 2]


def test_listeners_that_end_together_hand_nothing_to_each_other():
    box = Mailbox()
    first = box.subscribe("a")
    box.put(message("a", 1))
    waiting = box.subscribe("a").join(Waiter())
    box.withdraw_since(0)
    assert (first.closed, waiting.state) == (True, WITHDRAWN)
    assert taken(box.claim("a"))["number"] == 1


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
        self.box.put(message(type, self.number), size)
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
            self.seen[taken(claim)["number"]] += 1
        self.box.withdraw(claim)

    @rule(claim=consumes(claims))
    def withdraw(self, claim):
        self.box.withdraw(claim)

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
            self.seen[taken(claim)["number"]] += 1
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
