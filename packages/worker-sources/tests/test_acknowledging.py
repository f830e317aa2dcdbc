"""The contract that every acknowledging source keeps, whatever it keeps its jobs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import EndOfStream, fail_after, wait_all_tasks_blocked

from worker_sources import SourceClosed

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Open = Callable[[], AbstractAsyncContextManager[Any]]

pytestmark = pytest.mark.anyio


async def one(source: Any) -> Any:
    """The next delivery, which must be there."""
    with fail_after(5):
        (delivery,) = await source.receive(1)
    return delivery


async def nothing_is_ready(source: Any) -> bool:
    with anyio.move_on_after(0.02):  # not a synchronisation: a source that gives something does so at once
        await source.receive(1)
        return False
    return True


async def dead(source: Any) -> list[tuple[str, str]]:
    if callable(source.dead):
        return await source.dead()
    return [(letter.id, letter.reason) for letter in await source.dead.list()]


async def test_what_was_put_is_delivered_in_order_with_an_id_of_its_own(acks: Open) -> None:
    async with acks() as source:
        ids = [await source.put(value) for value in (None, {"a": [1, 2.5, "x"]}, "")]
        deliveries = [await one(source) for _ in ids]
        assert [delivery.value for delivery in deliveries] == [None, {"a": [1, 2.5, "x"]}, ""]
        assert [delivery.id for delivery in deliveries] == ids
        assert len(set(ids)) == 3
        assert [(d.attempt, d.last, d.isolate) for d in deliveries] == [(1, False, False)] * 3


async def test_receive_gives_what_is_ready_up_to_what_was_asked(acks: Open) -> None:
    async with acks() as source:
        for value in range(5):
            await source.put(value)
        assert [delivery.value for delivery in await source.receive(3)] == [0, 1, 2]
        assert [delivery.value for delivery in await source.receive(3)] == [3, 4]


async def test_receive_waits_for_a_put_and_is_woken_by_it(acks: Open) -> None:
    async with acks() as source, anyio.create_task_group() as group:
        got: list[object] = []

        async def consume() -> None:
            got.append((await one(source)).value)

        group.start_soon(consume)
        await wait_all_tasks_blocked()
        await source.put("late")
        await wait_all_tasks_blocked()
    assert got == ["late"]


async def test_an_acknowledged_job_never_comes_back(acks: Open, clock: Any) -> None:
    async with acks() as source:
        await source.put(1)
        delivery = await one(source)
        assert await delivery.ack() is True
        assert await delivery.ack() is False
        clock.advance(100)
        assert await nothing_is_ready(source)
        assert await dead(source) == []


async def test_a_nacked_job_comes_back_with_its_id_and_the_next_attempt(acks: Open) -> None:
    async with acks() as source:
        await source.put(1)
        first = await one(source)
        assert await first.nack() is True
        second = await one(source)
        assert (second.id, second.value, second.attempt) == (first.id, 1, 2)


async def test_a_delay_is_waited_for(acks: Open, clock: Any) -> None:
    async with acks() as source:
        await source.put("later", delay=60)
        await source.put("now")
        delivery = await one(source)
        assert delivery.value == "now"
        assert await delivery.nack(delay=30)
        assert await nothing_is_ready(source)
        clock.advance(29.9)
        assert await nothing_is_ready(source)
        clock.advance(0.1)
        assert (await one(source)).value == "now"
        clock.advance(30)
        assert {(await one(source)).value for _ in "12"} == {"now", "later"}  # the lease of "now" is over as well


async def test_a_waiting_receive_sees_a_delay_pass(acks: Open, clock: Any) -> None:
    async with acks() as source, anyio.create_task_group() as group:
        await source.put("later", delay=60)
        got: list[object] = []

        async def consume() -> None:
            got.append((await one(source)).value)

        group.start_soon(consume)
        await wait_all_tasks_blocked()
        clock.advance(60)
    assert got == ["later"]


@pytest.mark.fault("99g")
async def test_a_job_that_is_handed_back_is_first_in_line_and_was_not_tried(acks: Open, clock: Any) -> None:
    async with acks() as source:
        await source.put("a")
        await source.put("b")
        clock.advance(1)
        first = await one(source)
        assert await first.hand_back() is True
        assert await first.hand_back() is False
        again = await one(source)
        assert (again.value, again.attempt) == ("a", 1)
        assert await first.ack() is False
        assert await again.ack() is True


async def test_in_a_batch_too_what_came_back_is_in_its_place(acks: Open, clock: Any) -> None:
    async with acks() as source:
        await source.put("late", delay=4)
        for value in "abcd":
            await source.put(value)
        a, b, c, d = await source.receive(4)
        clock.advance(1)
        await source.put("e")
        clock.advance(1)
        await a.nack(delay=1)
        await b.nack()
        await d.hand_back()
        clock.advance(5)
        assert [delivery.value for delivery in await source.receive(9)] == ["d", "e", "b", "a", "late"]
        await c.ack()


async def test_a_rejected_job_is_a_dead_letter_with_its_reason(acks: Open) -> None:
    async with acks() as source:
        await source.put("bad")
        delivery = await one(source)
        assert await delivery.reject("no such page") is True
        assert await delivery.reject("twice") is False
        assert await dead(source) == [(delivery.id, "no such page")]
        assert await nothing_is_ready(source)


async def test_the_last_attempt_says_so_and_its_failure_is_final(acks: Open) -> None:
    async with acks() as source:
        await source.put("flaky")
        for attempt in (1, 2, 3):
            delivery = await one(source)
            assert (delivery.attempt, delivery.last) == (attempt, attempt == 3)
            assert await delivery.nack() is True
        assert await nothing_is_ready(source)
        assert await dead(source) == [(delivery.id, "failed 3 times")]


@pytest.mark.fault("99g")
async def test_a_job_whose_holder_is_gone_comes_back_before_the_backlog(acks: Open, clock: Any) -> None:
    async with acks() as source:
        for value in range(5):
            await source.put(value)
            clock.advance(0.001)
        lost = await one(source)
        clock.advance(9.9)
        assert (await one(source)).value == 1
        clock.advance(0.1)
        again = await one(source)
        assert (again.value, again.attempt) == (0, 2)
        assert lost.id == again.id


async def test_a_stale_holder_can_do_nothing(acks: Open, clock: Any) -> None:
    async with acks() as source:
        await source.put(1)
        stale = await one(source)
        clock.advance(10)
        current = await one(source)
        assert await source.renew([stale, current]) == [stale]
        assert not await stale.nack()
        assert not await stale.hand_back()
        assert not await stale.reject("stale")
        assert not await stale.ack()
        assert await dead(source) == []
        assert await current.ack()


async def test_a_stale_holder_is_not_mistaken_for_itself_after_a_hand_back(acks: Open, clock: Any) -> None:
    async with acks() as source:
        await source.put(1)
        stale = await one(source)  # attempt 1
        clock.advance(10)
        second = await one(source)  # attempt 2
        await second.hand_back()
        third = await one(source)  # attempt 2 again, and another claim
        assert third.attempt == 2
        assert not await second.ack()
        assert not await stale.ack()
        assert await third.ack()


async def test_renewal_keeps_a_job_for_as_long_as_it_takes(acks: Open, clock: Any) -> None:
    async with acks() as source:
        await source.put(1)
        delivery = await one(source)
        for _ in range(4):
            clock.advance(9)
            assert await source.renew([delivery]) == []
            assert await nothing_is_ready(source)
        assert await delivery.ack()
        assert await source.renew([]) == []


async def test_a_holder_that_dies_every_time_makes_a_dead_letter(acks: Open, clock: Any) -> None:
    async with acks() as source:
        await source.put("poison")
        await source.put("good")
        for _ in range(3):
            delivery = await one(source)
            assert delivery.value == "poison"
            clock.advance(10)
        assert (await one(source)).value == "good"
        assert [letter[0] for letter in await dead(source)] == [delivery.id]


async def test_a_cancelled_receive_holds_nothing(acks: Open) -> None:
    async with acks() as source:
        async with anyio.create_task_group() as group:
            group.start_soon(source.receive, 1)
            await wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await source.put(1)
        assert (await one(source)).attempt == 1


async def test_close_refuses_puts_and_the_end_comes_when_everything_is_settled(acks: Open, clock: Any) -> None:
    async with acks() as source, anyio.create_task_group() as group:
        received, ended = anyio.Event(), anyio.Event()
        await source.put("held")
        await source.put("delayed", delay=5)
        held = await one(source)
        source.close()
        source.close()
        with pytest.raises(SourceClosed):
            await source.put(2)

        async def consume() -> None:
            assert (await one(source)).attempt == 1
            received.set()
            assert await (await one(source)).ack()
            with pytest.raises(EndOfStream):
                await source.receive(1)
            ended.set()

        with fail_after(5):
            group.start_soon(consume)
            await wait_all_tasks_blocked()
            assert await held.ack()
            assert not ended.is_set()  # there is still one that is not ready
            clock.advance(5)
            await received.wait()
            await wait_all_tasks_blocked()
            assert not ended.is_set()  # it is in somebody's hands, and may come back
            clock.advance(10)
            await ended.wait()


async def test_a_closed_and_empty_source_ends_at_once(acks: Open) -> None:
    async with acks() as source:
        source.close()
        with pytest.raises(EndOfStream), fail_after(5):
            await source.receive(1)
