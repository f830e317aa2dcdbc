"""The pieces that compose: order, ends, errors, and items that survive a cancelled consumer."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after, wait_all_tasks_blocked
from trio.testing import MockClock

from worker_sources import IterableSource, QueueSource, SourceClosed, batched, limited, mapped, merge, throttle
from worker_testkit import sweep_cancellation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker_testkit import Cut

pytestmark = pytest.mark.anyio


def on_a_clock_that_jumps() -> pytest.MarkDecorator:
    """Run on a clock that jumps ahead whenever all tasks wait: only trio has one."""
    backend = "trio", {"clock": MockClock(autojump_threshold=0)}
    return pytest.mark.parametrize("anyio_backend", [pytest.param(backend, id="trio")])


def queue(*items: object) -> QueueSource[object]:
    source = QueueSource[object]()
    for item in items:
        source.put_nowait(item)
    source.close()
    return source


class Tripwire(Exception):
    pass


async def breaks(*items: int) -> AsyncIterator[int]:
    for item in items:
        yield item
    raise Tripwire


async def test_merge_gives_everything_of_all_and_ends_with_the_last() -> None:
    async with merge(queue(1, 2), queue(), queue(3, None)) as merged:
        assert merged.total == 4
        assert sorted([item async for item in merged], key=str) == [1, 2, 3, None]
    async with merge() as nothing:
        assert [item async for item in nothing] == []


async def test_merge_gives_what_comes_first_first() -> None:
    quick, slow = QueueSource[int](), QueueSource[int]()
    with fail_after(5):
        async with merge(slow, quick) as merged:
            quick.put_nowait(1)
            assert await merged.receive() == 1
            slow.put_nowait(2)
            assert await merged.receive() == 2


async def test_merge_takes_nothing_before_it_is_asked_and_at_most_one_of_each() -> None:
    left, right = queue(1, 2, 3), queue(4, 5, 6)
    async with merge(left, right) as merged:
        await wait_all_tasks_blocked()
        assert len(left) == len(right) == 3
        await merged.receive()
        await wait_all_tasks_blocked()
        assert len(left) >= 2
        assert len(right) >= 2


async def test_an_error_in_merge_comes_bare_and_after_the_items() -> None:
    got: list[object] = []

    async def consume() -> None:
        async with merge(breaks(1, 2), QueueSource[int]()) as merged:
            async for item in merged:
                got.append(item)

    with pytest.raises(Tripwire):
        await consume()
    assert got == [1, 2]


async def test_merge_needs_its_owner() -> None:
    with pytest.raises(RuntimeError, match="needs an owner"):
        [item async for item in merge(queue(1))]


async def test_leaving_merge_closes_no_source() -> None:
    source = QueueSource[int]()
    async with merge(source):
        pass
    source.put_nowait(1)
    assert await source.receive() == 1


@on_a_clock_that_jumps()
async def test_throttle_spaces_items_evenly() -> None:
    start, times = anyio.current_time(), []
    async for _ in throttle(queue(1, 2, 3, 4), rate=2):
        times.append(anyio.current_time() - start)
    assert times == pytest.approx([0, 0.5, 1, 1.5])


async def test_throttle_waits_before_it_takes_an_item() -> None:
    source = queue(1, 2)
    slow = throttle(source, rate=1, per=3600)
    assert await anext(slow) == 1
    async with anyio.create_task_group() as group:
        group.start_soon(anext, slow)
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert len(source) == 1


@on_a_clock_that_jumps()
async def test_throttle_counts_from_when_an_item_came_not_from_when_it_was_asked_for() -> None:
    source, times = QueueSource[int](), []
    start = anyio.current_time()

    async def consume() -> None:
        async for _ in slow:
            times.append(anyio.current_time() - start)

    slow = throttle(source, rate=2)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(consume)
        await anyio.sleep(10)
        for number in range(4):
            source.put_nowait(number)
        source.close()
    assert times == pytest.approx([10, 10.5, 11, 11.5])


@on_a_clock_that_jumps()
async def test_an_impatient_consumer_of_throttle_is_served_in_the_end() -> None:
    slow, times = throttle(queue(1, 2, 3), rate=1), []
    start = anyio.current_time()
    with fail_after(20):
        while len(times) < 3:
            with anyio.move_on_after(0.3):
                await anext(slow)
                times.append(anyio.current_time() - start)
    assert times == pytest.approx([0, 1, 2])


async def test_throttle_cancelled_anywhere_loses_no_item() -> None:
    slow, got = throttle(queue(), rate=1), list[object]()

    async def body() -> None:
        nonlocal slow
        slow = throttle(queue(0, 1, 2), rate=1e6)
        got.clear()
        async for item in slow:
            got.append(item)

    async def check(_: Cut[None]) -> None:
        assert got + [item async for item in slow] == [0, 1, 2]

    await sweep_cancellation(body, check=check)


async def test_batches_are_full_but_the_last() -> None:
    batches = batched(queue(*range(7)), 3)
    assert batches.total == 3  # type: ignore[attr-defined]
    assert [batch async for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [batch async for batch in batched(queue(), 3)] == []


@on_a_clock_that_jumps()
async def test_a_batch_waits_no_longer_than_its_timeout() -> None:
    source = QueueSource[int]()
    batches = batched(source, 3, timeout=10)
    source.put_nowait(1)
    source.put_nowait(2)
    start = anyio.current_time()
    assert await anext(batches) == [1, 2]
    assert anyio.current_time() - start == pytest.approx(10)
    source.put_nowait(3)
    source.close()
    assert [batch async for batch in batches] == [[3]]


async def test_a_cancelled_consumer_leaves_its_half_batch_to_the_next() -> None:
    source = QueueSource[int]()
    batches = batched(source, 3)
    source.put_nowait(1)
    async with anyio.create_task_group() as group:
        group.start_soon(anext, batches)
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    source.put_nowait(2)
    source.put_nowait(3)
    assert await anext(batches) == [1, 2, 3]


@on_a_clock_that_jumps()
async def test_what_a_cancelled_consumer_left_comes_out_when_its_time_is_up() -> None:
    source, tries = QueueSource[str](), 0
    batches = batched(source, 10, timeout=1)
    source.put_nowait("a")
    start = anyio.current_time()
    with fail_after(5):
        while True:
            tries += 1
            with anyio.move_on_after(0.3):
                assert await anext(batches) == ["a"]
                break
    assert tries == 4
    assert anyio.current_time() - start == pytest.approx(1)


async def test_a_batch_comes_before_the_error_that_cut_it_short() -> None:
    batches = batched(breaks(1, 2), 3)
    assert await anext(batches) == [1, 2]
    with pytest.raises(Tripwire):
        await anext(batches)
    with pytest.raises(StopAsyncIteration):
        await anext(batches)


async def test_a_generator_in_batches_with_a_timeout_is_refused_with_the_cure() -> None:
    generator = breaks(1)
    with pytest.raises(TypeError, match="IterableSource"):
        batched(generator, 2, timeout=1)
    async with IterableSource(generator) as items:
        assert await anext(batched(items, 1, timeout=1)) == [1]


async def test_mapped_takes_functions_of_both_kinds() -> None:
    async def later(item: object) -> str:
        await anyio.lowlevel.checkpoint()
        return f"<{item}>"

    assert [text async for text in mapped(queue(1, 2), str)] == ["1", "2"]
    assert [text async for text in mapped(queue(1, 2), later)] == ["<1>", "<2>"]


async def test_an_item_whose_mapping_was_cancelled_is_mapped_again() -> None:
    calls: list[object] = []

    async def stuck_at_first(item: object) -> object:
        calls.append(item)
        if len(calls) == 1:
            await anyio.sleep_forever()
        return item

    pieces = mapped(queue(1), stuck_at_first)
    async with anyio.create_task_group() as group:
        group.start_soon(anext, pieces)
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert [item async for item in pieces] == [1]


async def test_limited_never_asks_for_the_next() -> None:
    source = queue(1, 2, 3)
    assert [item async for item in limited(source, 2)] == [1, 2]
    assert len(source) == 1
    assert [item async for item in limited(source, 5)] == [3]
    assert [item async for item in limited(source, 0)] == []


async def test_limited_counts_only_what_was_received() -> None:
    source = QueueSource[int]()
    first = limited(source, 1)
    async with anyio.create_task_group() as group:
        group.start_soon(anext, first)
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    source.put_nowait(1)
    assert await anext(first) == 1
    with pytest.raises(StopAsyncIteration):
        await anext(first)


async def test_limited_does_not_end_for_one_consumer_while_another_may_give_its_place_back() -> None:
    source, got = QueueSource[int](), list[int]()
    first = limited(source, 1)
    doomed = anyio.CancelScope()

    async def consume(scope: anyio.CancelScope) -> None:
        with scope:
            async for item in first:
                got.append(item)

    with fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(consume, doomed)
            await wait_all_tasks_blocked()
            group.start_soon(consume, anyio.CancelScope())
            group.start_soon(consume, anyio.CancelScope())
            await wait_all_tasks_blocked()
            doomed.cancel()
            await wait_all_tasks_blocked()
            source.put_nowait(1)
    assert got == [1]


async def test_limited_ends_for_all_when_its_source_does() -> None:
    first = limited(queue(1), 2)

    async def consume() -> None:
        async for item in first:
            got.append(item)

    got = list[object]()
    with fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(consume)
    assert got == [1]


@pytest.mark.parametrize("then", ["asyncio", "trio"])
def test_pieces_go_on_in_the_next_run(then: str, anyio_backend_name: str) -> None:
    source = QueueSource[int]()
    for number in range(6):
        source.put_nowait(number)
    slow, pairs, few = throttle(source, rate=1000), batched(source, 1, timeout=1), limited(source, 2)

    async def run() -> list[object]:
        with fail_after(5):
            return [await anext(slow), await anext(pairs), await anext(few)]

    assert anyio.run(run, backend=anyio_backend_name) == [0, [1], 2]
    assert anyio.run(run, backend=then) == [3, [4], 5]


async def test_totals_pass_through() -> None:
    source = IterableSource([1, 2, 3])
    assert mapped(source, str).total == 3  # type: ignore[attr-defined]
    assert limited(source, 2).total == 2  # type: ignore[attr-defined]
    assert throttle(source, 1).total == 3  # type: ignore[attr-defined]
    assert limited(QueueSource[int](), 2).total is None  # type: ignore[attr-defined]


def test_what_is_not_async_is_refused_with_the_cure() -> None:
    pieces = [merge, partial(batched, size=2), partial(throttle, rate=1), partial(limited, count=1)]
    for piece in (*pieces, partial(mapped, function=str)):
        with pytest.raises(TypeError, match=r"'list' object is not an async iterable: wrap it in IterableSource\("):
            piece([1, 2])  # type: ignore[operator]
        with pytest.raises(TypeError, match=r"'int' object is not an async iterable$"):
            piece(5)  # type: ignore[operator]
    with pytest.raises(TypeError, match="'list' object is not an async iterable"):
        merge(queue(1), [2])  # type: ignore[arg-type]


def test_options_are_checked() -> None:
    source = QueueSource[int]()
    for wrong in (lambda: throttle(source, 0), lambda: batched(source, 0), lambda: limited(source, -1)):
        with pytest.raises(ValueError, match="must be"):
            wrong()
    with pytest.raises(ValueError, match="must be positive"):
        throttle(source, math.nan)


async def test_leaving_merge_tells_who_waits() -> None:
    told: list[str] = []
    source = QueueSource[int]()

    async def wait() -> None:
        with pytest.raises(SourceClosed):
            await merged.receive()
        told.append("told")

    async with anyio.create_task_group() as group, merge(source) as merged:
        group.start_soon(wait)
        await wait_all_tasks_blocked()
    assert told == ["told"]


@pytest.mark.parametrize("wrap", [lambda it: limited(it, 9), lambda it: throttle(it, 9), lambda it: mapped(it, str)])
def test_a_timeout_over_a_generator_is_refused_whatever_is_around_it(wrap: Any) -> None:
    async def generator() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="does not survive a timeout"):
        batched(wrap(generator()), 10, timeout=1)


async def test_a_merge_that_was_closed_takes_nothing_more() -> None:
    queue = QueueSource[str]()
    async with merge(queue) as merged, anyio.create_task_group() as group:
        seen: list[str] = []

        async def consume() -> None:
            seen.extend([item async for item in merged])

        group.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        merged.close()
        await anyio.wait_all_tasks_blocked()
        await queue.put("later")
        await anyio.wait_all_tasks_blocked()
        assert (len(queue), len(merged)) == (1, 0)
    assert seen == []


async def test_what_came_in_the_instant_of_the_close_may_still_be_received() -> None:
    queue = QueueSource[str]()
    async with merge(queue) as merged:
        async with anyio.create_task_group() as group:
            got: list[str] = []

            async def consume() -> None:
                got.extend([item async for item in merged])

            group.start_soon(consume)
            await anyio.wait_all_tasks_blocked()
            queue.put_nowait("now")
            merged.close()
        assert [*got, *[item async for item in merged], *queue._items] == ["now"]
