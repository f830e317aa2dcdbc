"""IterableSource: anything iterable, shared without losing an item, driven by one owner."""

from __future__ import annotations

import asyncio
import itertools
import threading
import traceback
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import EndOfStream, WouldBlock, fail_after, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from worker_sources import IterableSource, SourceClosed, merge

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.anyio


async def three() -> AsyncIterator[int]:
    for item in range(3):
        yield item


def three_plain() -> Iterator[int]:
    yield from range(3)


class Tripwire(Exception):
    pass


async def breaks() -> AsyncIterator[int]:
    yield 1
    yield 2
    raise Tripwire


def breaks_plain() -> Iterator[int]:
    yield 1
    yield 2
    raise Tripwire


class BreaksByHand:
    def __init__(self) -> None:
        self.next = 0

    def __aiter__(self) -> BreaksByHand:
        return self

    async def __anext__(self) -> int:
        self.next += 1
        if self.next > 2:
            raise Tripwire
        return self.next


async def consume(source: AsyncIterable[object], into: list[object]) -> None:
    async for item in source:
        into.append(item)


@pytest.mark.parametrize("entered", [False, True])
@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("items", [[0, 1, 2], range(3), three_plain, three, three_plain(), iter(range(3))], ids=repr)
async def test_whatever_is_iterable_is_a_source(items: object, threaded: bool, entered: bool) -> None:
    if not callable(items):  # an iterator is spent by the first backend
        items = list(items) if hasattr(items, "__next__") else items  # type: ignore[call-overload]
        items = items or [0, 1, 2]
    source: IterableSource[int] = IterableSource(items, threaded=threaded)  # type: ignore[arg-type]
    with fail_after(5):
        if entered:
            async with source:
                assert [item async for item in source] == [0, 1, 2]
        else:
            assert [item async for item in source] == [0, 1, 2]


async def test_none_is_an_item_wherever_it_stands() -> None:
    assert [item async for item in IterableSource([None, 2, None])] == [None, 2, None]


async def test_total_is_the_length_if_there_is_one() -> None:
    assert IterableSource([1, 2]).total == 2
    assert IterableSource(three).total is None
    assert IterableSource(iter([1])).total is None


async def test_a_plain_iterable_can_be_taken_from_at_once_and_an_async_one_cannot() -> None:
    source = IterableSource([1])
    assert source.receive_nowait() == 1
    for _ in range(2):
        with pytest.raises(EndOfStream):
            source.receive_nowait()
    with pytest.raises(WouldBlock):
        IterableSource(three).receive_nowait()
    with pytest.raises(WouldBlock):
        IterableSource([1], threaded=True).receive_nowait()


async def test_it_can_be_iterated_again_if_the_items_can() -> None:
    for items in ([0, 1, 2], three, three_plain):
        source: IterableSource[int] = IterableSource(items)
        assert [item async for item in source] == [item async for item in source] == [0, 1, 2]
        async with source:
            assert [item async for item in source] == [0, 1, 2]
        async with source:
            assert [item async for item in source] == [0, 1, 2]


@pytest.mark.parametrize("items", [[0, 1, 2], three, three_plain])
async def test_what_was_closed_is_not_iterated_again(items: object) -> None:
    source: IterableSource[int] = IterableSource(items)  # type: ignore[arg-type]
    async for _ in source:
        source.close()
    assert [item async for item in source] == []
    async with source:
        assert [item async for item in source] == []
    source = IterableSource(items)  # type: ignore[arg-type]
    async with source:
        assert await source.receive() == 0
        source.close()
        assert [item async for item in source] == []
    assert [item async for item in source] == []
    source = IterableSource(items)  # type: ignore[arg-type]
    await source.aclose()
    assert [item async for item in source] == []
    with fail_after(5):
        async with source:
            assert [item async for item in source] == []


@pytest.mark.fault("99i")
async def test_the_end_of_an_iterator_is_final_and_an_empty_one_ends_at_once() -> None:
    source = IterableSource(iter([1]))
    assert [item async for item in source] == [1]
    assert [item async for item in source] == []
    assert [item async for item in IterableSource([])] == []
    async with IterableSource(three()) as shared:
        assert [item async for item in shared] == [0, 1, 2]
        assert [item async for item in shared] == []


@pytest.mark.fault("99a")
@pytest.mark.parametrize("items", [breaks, breaks_plain, BreaksByHand])
@pytest.mark.parametrize("entered", [False, True])
async def test_an_error_comes_after_its_items_and_once_to_each_consumer(items: object, entered: bool) -> None:
    source: IterableSource[int] = IterableSource(items)  # type: ignore[arg-type]
    got: list[int] = []
    failures: list[Exception] = []

    async def consumer(_: str) -> None:
        iterator = aiter(source)
        try:
            async for item in iterator:
                got.append(item)
        except Tripwire as error:
            failures.append(error)
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)

    with fail_after(5):
        if entered:
            async with source, anyio.create_task_group() as group:
                for name in "abc":
                    group.start_soon(consumer, name)
            assert len(failures) == 3
        else:
            await consumer("a")
            assert len(failures) == 1
    assert sorted(got) == [1, 2]
    assert all("raise Tripwire" in "".join(traceback.format_exception(error)) for error in failures)


@pytest.mark.fault("99a")
async def test_after_an_error_nothing_is_pulled() -> None:
    by_hand = BreaksByHand()
    source = IterableSource(by_hand)
    with pytest.raises(Tripwire):
        [item async for item in source]
    with pytest.raises(Tripwire):
        await source.receive()
    assert by_hand.next == 3


@pytest.mark.fault("99b")
async def test_cancelling_a_consumer_neither_loses_an_item_nor_ends_the_generator() -> None:
    gate, ended = anyio.Event(), anyio.Event()

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await gate.wait()
            yield 2
            yield 3
        finally:
            ended.set()

    got: list[int] = []
    scope = anyio.CancelScope()

    async def doomed(source: AsyncIterable[int]) -> None:
        with scope:
            await consume(source, got)

    with fail_after(5):
        async with IterableSource(items) as source, anyio.create_task_group() as group:
            group.start_soon(doomed, source)
            await wait_all_tasks_blocked()
            assert got == [1]
            scope.cancel()
            await wait_all_tasks_blocked()
            assert not ended.is_set()
            gate.set()
            await consume(source, got)
    assert got == [1, 2, 3]


@pytest.mark.fault("99b")
async def test_without_an_owner_a_cancelled_generator_is_not_mistaken_for_its_end() -> None:
    async def items() -> AsyncIterator[int]:
        await anyio.sleep_forever()
        yield 1

    source = IterableSource(items)
    async with anyio.create_task_group() as group:
        group.start_soon(source.receive)
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    with pytest.raises(SourceClosed, match="share it with"):
        await source.receive()


async def a_cancellation() -> BaseException:
    """One that nobody waits for any more: what awaiting a cancelled task of asyncio raises, on any event loop."""
    cancellations: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class() as error:
            cancellations.append(error)
            raise
    return cancellations[0]


async def leaks_a_cancellation() -> AsyncIterator[int]:
    yield 1
    raise await a_cancellation()


async def awaits_a_cancelled_task() -> AsyncIterator[int]:
    yield 1
    task = asyncio.create_task(anyio.sleep_forever())
    await checkpoint()
    task.cancel()
    await task


async def leaks_at_its_end() -> AsyncIterator[int]:
    try:
        yield 1
    finally:
        raise await a_cancellation()


async def each_is_told(source: AsyncIterable[int]) -> None:
    async with source as shared:  # type: ignore[attr-defined]
        assert await shared.receive() == 1
        for _ in range(2):
            with pytest.raises(RuntimeError, match="a cancellation that was not its own") as raised:
                await shared.receive()
            assert isinstance(raised.value.__cause__, anyio.get_cancelled_exc_class())


@pytest.mark.parametrize("make", [IterableSource, merge])
async def test_a_cancellation_that_is_not_ours_is_an_error_of_the_source(make: Callable[..., Any]) -> None:
    with fail_after(5):
        await each_is_told(make(leaks_a_cancellation()))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("make", [IterableSource, merge])
async def test_a_task_that_somebody_cancelled_does_not_cancel_who_iterates(make: Callable[..., Any]) -> None:
    with fail_after(5):
        await each_is_told(make(awaits_a_cancelled_task()))


async def test_a_cancellation_that_is_not_ours_is_an_error_at_leaving_too() -> None:
    async def leave() -> None:
        async with IterableSource(leaks_at_its_end) as source:
            assert await source.receive() == 1

    with fail_after(5), pytest.raises(RuntimeError, match="a cancellation that was not its own"):
        await leave()


@pytest.mark.fault("99e")
@pytest.mark.parametrize("entered", [False, True])
async def test_two_consumers_of_one_generator_are_served_in_turn(entered: bool) -> None:
    inside = 0

    async def items() -> AsyncIterator[int]:
        nonlocal inside
        for number in range(20):
            inside += 1
            assert inside == 1
            await checkpoint()
            inside -= 1
            yield number

    source, got = IterableSource(items()), []
    with fail_after(5):
        if entered:
            async with source, anyio.create_task_group() as group:
                group.start_soon(consume, source, got)
                group.start_soon(consume, source, got)
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(consume, source, got)
                group.start_soon(consume, source, got)
    assert sorted(got) == list(range(20))


@pytest.mark.fault("99f")
@pytest.mark.parametrize("threaded", [False, True])
async def test_nothing_is_read_ahead_of_endless_input(threaded: bool) -> None:
    counter = itertools.count()
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in counter:
            read.append(number)
            yield number

    async with IterableSource(items, threaded=threaded) as source:
        await wait_all_tasks_blocked()
        assert read == []
        assert [await source.receive() for _ in range(3)] == [0, 1, 2]
        await wait_all_tasks_blocked()
    assert read == [0, 1, 2]


async def test_leaving_finishes_the_generator_and_tells_who_waits() -> None:
    finished: list[str] = []
    told: list[str] = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            finished.append("async")

    def plain() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            finished.append("plain")

    async with IterableSource(plain) as source:
        assert await source.receive() == 1

    async def wait() -> None:
        with pytest.raises(SourceClosed):
            await source.receive()
        told.append("told")

    async with anyio.create_task_group() as group, IterableSource(items) as source:
        assert await source.receive() == 1
        group.start_soon(wait)
        await wait_all_tasks_blocked()
    assert finished == ["plain", "async"]
    assert told == ["told"]


async def test_the_error_of_the_block_leaves_bare() -> None:
    with pytest.raises(Tripwire):
        async with IterableSource(three):
            raise Tripwire


async def test_leaving_under_cancellation_ends() -> None:
    finished = anyio.Event()

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            finished.set()

    with fail_after(5), anyio.CancelScope() as scope:
        async with IterableSource(items) as source:
            await source.receive()
            scope.cancel()
            await anyio.sleep_forever()
    assert finished.is_set()


async def test_a_blocking_iterator_in_a_thread_blocks_neither_the_loop_nor_a_cancelled_consumer() -> None:
    gate, inside = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield threading.get_ident()
        inside.set()
        gate.wait(10)
        yield 2

    got: list[int] = []
    with fail_after(5):
        async with IterableSource(items, threaded=True) as source:
            assert await source.receive() != threading.get_ident()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(consume, source, got)
                    await anyio.to_thread.run_sync(inside.wait, 5)
                    scope.cancel()
            assert got == []
            gate.set()
            assert await source.receive() == 2


async def test_leaving_does_not_wait_for_a_thread_that_is_stuck() -> None:
    gate, inside, left = threading.Event(), threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        inside.set()
        gate.wait(10)
        left.set()
        yield 1

    with fail_after(5):
        async with anyio.create_task_group() as group, IterableSource(items, threaded=True) as source:

            async def ask() -> None:
                with pytest.raises(SourceClosed):
                    await source.receive()

            group.start_soon(ask)
            await anyio.to_thread.run_sync(inside.wait, 5)
    assert not left.is_set()
    gate.set()
    left.wait(5)


async def test_entering_twice_is_a_mistake() -> None:
    async with IterableSource(three) as source:
        with pytest.raises(RuntimeError, match="entered already"):
            await source.__aenter__()


async def test_what_is_not_iterable_is_refused() -> None:
    with pytest.raises(TypeError, match="items must be iterable"):
        IterableSource(5)  # type: ignore[arg-type]
    source = IterableSource(lambda: 5)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="must return an iterable"):
        await source.receive()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("at_once", [False, True])
async def test_asyncio_itself_may_cancel_who_waits_for_a_thread_that_iterates(at_once: bool) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow() -> Iterator[int]:
        begun.set()
        assert go.wait(5)
        yield from range(3)

    source = IterableSource(slow, threaded=True)
    task = asyncio.create_task(source.receive())
    await anyio.to_thread.run_sync(begun.wait)
    task.cancel()
    if not at_once:
        go.set()
        await asyncio.wait([task])
        assert task.cancelled()
    rest = asyncio.create_task(anext(aiter(source)))
    await checkpoint()
    go.set()
    assert [await rest, *[item async for item in source]] == [0, 1, 2]
