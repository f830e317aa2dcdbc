"""QueueSource: each item to exactly one consumer, in order, whatever is cancelled and closed when."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import EndOfStream, WouldBlock, fail_after, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from worker_sources import EventSource, QueueFull, QueueSource, SourceClosed
from worker_testkit import sweep_cancellation

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

pytestmark = pytest.mark.anyio


async def consume(source: AsyncIterable[object], into: list[object]) -> None:
    async for item in source:
        into.append(item)


async def test_items_keep_their_order_and_none_is_an_item() -> None:
    source = QueueSource[object]()
    for item in (None, 0, False, "", ()):
        await source.put(item)
    source.close()
    assert [item async for item in source] == [None, 0, False, "", ()]


async def test_without_an_item_nowait_would_block_and_at_the_end_says_so() -> None:
    source = QueueSource[int]()
    with pytest.raises(WouldBlock):
        source.receive_nowait()
    source.put_nowait(1)
    source.close()
    assert source.receive_nowait() == 1
    for _ in range(2):  # the end is final
        with pytest.raises(EndOfStream):
            source.receive_nowait()
        with pytest.raises(EndOfStream):
            await source.receive()


@pytest.mark.fault("99i")
async def test_a_source_that_was_closed_empty_has_an_end_and_no_items() -> None:
    async with QueueSource[int]() as source:
        pass
    source.close()
    await source.aclose()
    assert [item async for item in source] == []


async def test_a_closed_source_refuses_and_the_item_stays_yours() -> None:
    source = QueueSource[int]()
    source.close()
    with pytest.raises(SourceClosed):
        source.put_nowait(1)
    with pytest.raises(SourceClosed):
        await source.put(1)
    assert len(source) == 0


async def test_total_is_known_once_closed() -> None:
    source = QueueSource[int]()
    source.put_nowait(1)
    await source.put(2)
    assert source.total is None
    source.receive_nowait()
    source.close()
    assert source.total == 2


async def test_a_full_queue_says_so_and_a_place_is_free_after_a_receive() -> None:
    source = QueueSource[int](maxsize=2)
    source.put_nowait(1)
    source.put_nowait(2)
    with pytest.raises(QueueFull) as caught:
        source.put_nowait(3)
    assert caught.value.maxsize == 2
    source.receive_nowait()
    source.put_nowait(3)
    assert len(source) == 2


def test_maxsize_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="maxsize must be 0"):
        QueueSource(-1)


async def test_consumers_are_served_in_the_order_in_which_they_came() -> None:
    source, served = QueueSource[str](), []

    async def one(name: str) -> None:
        served.append((name, await source.receive()))

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(one, name)
            await wait_all_tasks_blocked()
        for item in "123":
            source.put_nowait(item)
    assert sorted(served) == [("a", "1"), ("b", "2"), ("c", "3")]  # trio wakes those of one tick in any order


async def test_producers_are_served_in_the_order_in_which_they_came() -> None:
    source = QueueSource[str](maxsize=1)
    source.put_nowait("first")
    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(source.put, name)
            await wait_all_tasks_blocked()
        assert [await source.receive() for _ in range(4)] == ["first", "a", "b", "c"]


async def test_producers_that_get_room_in_one_instant_put_in_the_order_in_which_they_came() -> None:
    source, names = QueueSource[str](maxsize=8), "abcdefgh"
    for _ in range(8):
        source.put_nowait("before")
    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(source.put, name)
            await wait_all_tasks_blocked()
        for _ in range(8):
            source.receive_nowait()
        assert [await source.receive() for _ in names] == list(names)  # trio would wake them in any order


async def test_a_put_does_not_overtake_one_that_has_its_place_and_has_not_run_yet() -> None:
    source = QueueSource[str](maxsize=2)
    source.put_nowait("x")
    source.put_nowait("y")
    with fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(source.put, "first")
            await wait_all_tasks_blocked()
            assert [source.receive_nowait(), source.receive_nowait()] == ["x", "y"]
            with pytest.raises(QueueFull):
                source.put_nowait("at once")
            await source.put("second")
            assert [await source.receive(), await source.receive()] == ["first", "second"]
        source.put_nowait("now there is room")


@pytest.mark.parametrize("ends", ["cancelled", "closed"])
async def test_who_waits_for_one_that_has_its_place_goes_on_when_that_gives_up(ends: str) -> None:
    source, scope, told = QueueSource[str](maxsize=2), anyio.CancelScope(), list[str]()
    source.put_nowait("x")
    source.put_nowait("y")

    async def put(item: str) -> None:
        with scope if item == "first" else contextlib.nullcontext():
            try:
                await source.put(item)
                told.append(f"{item} put")
            except SourceClosed:
                told.append(f"{item} refused")

    with fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(put, "first")
            await wait_all_tasks_blocked()
            assert [source.receive_nowait(), source.receive_nowait()] == ["x", "y"]
            if ends == "cancelled":
                scope.cancel()
            else:
                source.close()
            await put("second")
    if ends == "cancelled":
        left = [source.receive_nowait() for _ in range(len(source))]
        assert left == [line.removesuffix(" put") for line in told]  # trio lets the first succeed
        assert left[-1] == "second"
    else:
        assert sorted(told) == ["first refused", "second refused"]
        assert len(source) == 0


@pytest.mark.fault("99c")
async def test_close_wakes_every_waiting_consumer() -> None:
    source, seen = QueueSource[int](), []
    with fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(consume, source, seen)
            await wait_all_tasks_blocked()
            source.close()
    assert seen == []


@pytest.mark.fault("99d")
async def test_close_tells_blocked_producers_that_their_item_was_not_taken() -> None:
    source, refused = QueueSource[int](maxsize=1), []

    async def produce(item: int) -> None:
        try:
            await source.put(item)
        except SourceClosed:
            refused.append(item)

    source.put_nowait(0)
    with fail_after(5):
        async with anyio.create_task_group() as group:
            for item in (1, 2, 3):
                group.start_soon(produce, item)
            await wait_all_tasks_blocked()
            source.close()
    assert sorted(refused) == [1, 2, 3]
    assert [item async for item in source] == [0]
    assert source.total == 1


async def test_a_producer_that_got_a_place_but_not_yet_its_turn_is_refused_by_close_too() -> None:
    source = QueueSource[int](maxsize=1)
    source.put_nowait(0)
    refused = anyio.Event()

    async def produce() -> None:
        with pytest.raises(SourceClosed):
            await source.put(1)
        refused.set()

    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        await wait_all_tasks_blocked()
        source.receive_nowait()
        source.close()
    assert refused.is_set()
    with pytest.raises(EndOfStream):
        source.receive_nowait()


@pytest.mark.fault(97)
@pytest.mark.fault("99j")
async def test_an_item_for_a_consumer_that_is_cancelled_in_that_instant_goes_to_the_next() -> None:
    source, served = QueueSource[str](), []
    scopes = [anyio.CancelScope() for _ in range(3)]

    async def one(name: str, scope: anyio.CancelScope) -> None:
        with scope, contextlib.suppress(EndOfStream):
            served.append((name, await source.receive()))

    async with anyio.create_task_group() as group:
        for name, scope in zip("abc", scopes, strict=True):
            group.start_soon(one, name, scope)
            await wait_all_tasks_blocked()
        source.put_nowait("1")
        source.put_nowait("2")
        scopes[0].cancel()
        await wait_all_tasks_blocked()
        source.close()
    # trio lets a call that has succeeded return; asyncio raises, and then the item must go on. Never both, never none.
    assert sorted(served) in ([("b", "2"), ("c", "1")], [("a", "1"), ("b", "2")])


@pytest.mark.fault("99j")
async def test_an_item_nobody_else_waits_for_stays_at_the_front() -> None:
    source, got = QueueSource[int](), []

    async def receive_one() -> None:
        got.append(await source.receive())

    async with anyio.create_task_group() as group:
        group.start_soon(receive_one)
        await wait_all_tasks_blocked()
        source.put_nowait(1)
        source.put_nowait(2)
        group.cancel_scope.cancel()
    source.close()
    assert got + [item async for item in source] == [1, 2]


async def test_a_cancelled_producer_has_put_nothing_and_its_place_goes_on() -> None:
    source = QueueSource[str](maxsize=1)
    source.put_nowait("first")
    scope, put = anyio.CancelScope(), []

    async def doomed() -> None:
        with scope:
            await source.put("doomed")
            put.append("doomed")

    async with anyio.create_task_group() as group:
        group.start_soon(doomed)
        await wait_all_tasks_blocked()
        group.start_soon(source.put, "next")
        await wait_all_tasks_blocked()
        assert source.receive_nowait() == "first"  # in this instant "doomed" is admitted
        scope.cancel()
        await wait_all_tasks_blocked()
        assert [await source.receive() for _ in (*put, "next")] == [*put, "next"]  # trio lets it succeed
    assert len(source) == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_bare_task_cancel_of_asyncio_in_the_instant_of_delivery_loses_nothing() -> None:
    source = QueueSource[int](maxsize=1)
    task = asyncio.create_task(source.receive())
    await wait_all_tasks_blocked()
    source.put_nowait(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    blocked = asyncio.create_task(source.put(2))
    await wait_all_tasks_blocked()
    assert source.receive_nowait() == 1
    blocked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await blocked
    source.put_nowait(3)
    assert source.receive_nowait() == 3


@pytest.mark.fault(96)
@pytest.mark.parametrize("maxsize", [0, 1, 3])
async def test_cancelled_at_any_suspension_nothing_is_lost_or_doubled(maxsize: int) -> None:
    sources: list[QueueSource[int]] = []
    got: list[int] = []

    async def body() -> None:
        source = QueueSource[int](maxsize)
        sources.append(source)
        got.clear()

        async def produce() -> None:
            for item in range(6):
                await source.put(item)
            source.close()

        async with anyio.create_task_group() as group:
            group.start_soon(produce)
            async for item in source:
                got.append(item)

    async def check(_: object) -> None:
        source = sources[-1]
        rest = [source.receive_nowait() for _ in range(len(source))]
        assert [*got, *rest] == list(range(len(got) + len(rest)))

    await sweep_cancellation(body, check=check)


@pytest.mark.stress
async def test_many_producers_and_consumers_with_cancellations_balance_to_the_item() -> None:
    source, taken = QueueSource[int](maxsize=3), []
    produced = itertools.count()
    numbers: list[int] = []

    async def produce(step: int) -> None:
        for i in range(50):
            item = next(produced)
            with anyio.CancelScope() as scope:
                if i % step == 0:
                    scope.deadline = anyio.current_time()
                await source.put(item)
                numbers.append(item)

    async def consume_some(step: int) -> None:
        for i in itertools.count():
            with anyio.CancelScope() as scope:
                if i % step == 0:
                    scope.deadline = anyio.current_time()
                try:
                    taken.append(await source.receive())
                except EndOfStream:
                    return
            await checkpoint()

    with fail_after(10):
        async with anyio.create_task_group() as consumers:
            for step in (2, 3, 5):
                consumers.start_soon(consume_some, step)
            async with anyio.create_task_group() as producers:
                for step in (2, 3, 4, 7):
                    producers.start_soon(produce, step)
            source.close()
    assert sorted(taken) == sorted(numbers)
    assert len(taken) == len(set(taken)) > 50


async def test_a_busy_pair_lets_other_tasks_run() -> None:
    source = QueueSource[int]()
    turns = 0

    async def bystander() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(bystander)
        for _ in range(1000):
            await source.put(0)
            await source.receive()
        group.cancel_scope.cancel()
    assert turns >= 10


@pytest.mark.fault(100)
async def test_a_consumer_may_put_into_its_own_source() -> None:
    source, seen = QueueSource[int](maxsize=2), []
    source.put_nowait(3)
    async for item in source:
        seen.append(item)
        if item:
            await source.put(item - 1)
        else:
            source.close()
    assert seen == [3, 2, 1, 0]


async def test_a_consumer_that_fills_a_full_queue_is_told_instead_of_waiting_for_itself() -> None:
    source = QueueSource[int](maxsize=1)
    source.put_nowait(1)
    async for _ in source:
        source.put_nowait(2)
        with pytest.raises(QueueFull):
            source.put_nowait(3)
        break


async def test_queue_and_event_sources_share_the_consumers_side() -> None:
    for source in (QueueSource[int](), EventSource[int]()):
        seen: list[object] = []
        async with anyio.create_task_group() as group:
            group.start_soon(consume, source, seen)
            await wait_all_tasks_blocked()
            if isinstance(source, QueueSource):
                source.put_nowait(1)
            else:
                source.trigger(1)
            source.close()
        assert seen == [1]


async def test_a_full_queue_says_how_many_places_it_has() -> None:
    for maxsize, words in ((1, r"\(1 place\)"), (4, r"\(4 places\)")):
        source = QueueSource[int](maxsize)
        for number in range(maxsize):
            source.put_nowait(number)
        with pytest.raises(QueueFull, match=f"the queue is full {words}"):
            source.put_nowait(0)
