"""Who gets which message: the mailbox as a machine, without I/O and without a loop."""

import pytest

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


@pytest.mark.fault(9)
def test_a_conversation_that_begins_forgets_what_others_still_hold():
    """Collected later, a wait of the one before would hand its message to a wait of this one."""
    box = Mailbox()
    held, listener = box.claim("a"), box.subscribe("b")
    for number, type in enumerate("abc"):
        box.put(message(type, number))
    box.forget()
    fresh = [box.claim(type) for type in "abc"]
    box.withdraw(held)
    box.unsubscribe(listener)
    assert [claim.state for claim in fresh] == [WAITING] * 3
    box.put(message("a", 3))
    assert taken(fresh[0])["number"] == 3


def test_a_subscription_that_was_ended_takes_nothing_that_is_kept():
    box = Mailbox()
    ended = box.subscribe("a")
    box.unsubscribe(ended)
    box.put(message("a"))
    assert box.next(ended) is None
    assert taken(box.claim("a")) == message("a")


def test_a_place_that_is_dropped_in_the_middle_of_a_call_loses_nothing():
    """The collector runs where it likes: here, while the size of a message is added up."""

    class Size(int):
        def __radd__(self, other):
            while dropped:
                box.drop(dropped.pop())
            return other + int(self)

    told = []
    box = Mailbox()
    box.on_drop = lambda: told.append(True)
    dropped = [box.subscribe("a"), box.claim("a")]
    box.put(message("a", 1), Size(10))
    assert told == [True, True]
    assert taken(box.claim("a"))["number"] == 1
    assert not box.occupied
