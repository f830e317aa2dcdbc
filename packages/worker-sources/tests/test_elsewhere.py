"""A source belongs to the event loop that waits in it: from another one nobody there would be woken."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after, from_thread, to_thread, wait_all_tasks_blocked

from worker_sources import EventSource, IterableSource, QueueSource, SqliteSource, batched, limited, merge, throttle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.fault(86)

ELSEWHERE = "another thread: call it there, by anyio.from_thread"

other_loop = pytest.mark.parametrize("other", ["asyncio", "trio"])


def refused_in_a_loop(other: str, call: Callable[[], Awaitable[object]]) -> None:
    """Make the call in an event loop of its own; the limit makes a hang fail."""

    async def body() -> None:
        with fail_after(5), pytest.raises(RuntimeError, match=ELSEWHERE):
            await call()

    anyio.run(body, backend=other)


async def refused_elsewhere(other: str, call: Callable[[], Awaitable[object]]) -> None:
    """Make the call in another thread."""
    await to_thread.run_sync(refused_in_a_loop, other, call)


def refused_in_a_thread(call: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError, match=ELSEWHERE):
        call()


async def receive_into(source: Any, into: list[object]) -> None:
    into.append(await source.receive())


@pytest.mark.anyio
@other_loop
async def test_who_waits_is_not_woken_from_another_loop(other: str) -> None:
    source, seen = QueueSource[int](), list[object]()
    async with anyio.create_task_group() as group:
        group.start_soon(receive_into, source, seen)
        await wait_all_tasks_blocked()
        await refused_elsewhere(other, lambda: source.put(1))
        await refused_elsewhere(other, source.receive)
        await refused_elsewhere(other, source.aclose)
        assert len(source) == 0
        assert not source.total
        await source.put(2)
    assert seen == [2]


@pytest.mark.anyio
async def test_who_waits_is_not_woken_by_a_thread_unless_as_it_is_told() -> None:
    source, seen = QueueSource[int](), list[object]()
    async with anyio.create_task_group() as group:
        group.start_soon(receive_into, source, seen)
        await wait_all_tasks_blocked()
        await to_thread.run_sync(refused_in_a_thread, lambda: source.put_nowait(1))
        await to_thread.run_sync(refused_in_a_thread, source.close)
        await to_thread.run_sync(lambda: from_thread.run_sync(source.put_nowait, 2))
    assert seen == [2]


@pytest.mark.anyio
@other_loop
async def test_a_producer_that_waits_keeps_its_place_and_the_item_before_it_stays(other: str) -> None:
    source = QueueSource[int](maxsize=1)
    await source.put(1)
    async with anyio.create_task_group() as group:
        group.start_soon(source.put, 2)
        await wait_all_tasks_blocked()
        await refused_elsewhere(other, source.receive)
        await refused_elsewhere(other, lambda: anext(source))
        await refused_elsewhere(other, lambda: source.put(3))
        await to_thread.run_sync(refused_in_a_thread, source.receive_nowait)
        assert await source.receive() == 1
    assert await source.receive() == 2


@pytest.mark.anyio
@other_loop
async def test_a_producer_that_has_its_place_and_has_not_run_yet_keeps_the_source_here(other: str) -> None:
    source = QueueSource[int](maxsize=1)
    await source.put(1)
    async with anyio.create_task_group() as group:
        group.start_soon(source.put, 2)
        await wait_all_tasks_blocked()
        source.receive_nowait()
        thread = threading.Thread(target=refused_in_a_loop, args=[other, lambda: source.put(3)])
        thread.start()
        thread.join()  # it blocks this loop: the producer does not run before the other loop has tried
    assert source.receive_nowait() == 2
    with pytest.raises(anyio.WouldBlock):
        source.receive_nowait()


@pytest.mark.anyio
async def test_trigger_says_which_trigger_is_for_threads() -> None:
    source = EventSource[int]()

    def trigger() -> None:
        with pytest.raises(RuntimeError, match="use trigger_threadsafe here"):
            source.trigger(1)
        source.trigger_threadsafe(2)

    await to_thread.run_sync(trigger)
    assert await source.receive() == 2


@pytest.mark.anyio
@other_loop
async def test_an_iterator_has_its_owner_in_one_loop(other: str) -> None:
    gate = anyio.Event()

    async def numbers() -> AsyncIterator[int]:
        await gate.wait()
        yield 1

    async with IterableSource(numbers) as source:
        await refused_elsewhere(other, source.receive)
        await refused_elsewhere(other, lambda: anext(aiter(source)))
        gate.set()
        assert [item async for item in source] == [1]
    async with merge(QueueSource[int]()) as merged:
        await refused_elsewhere(other, merged.receive)


@pytest.mark.anyio
@other_loop
async def test_an_iterator_without_an_owner_is_asked_by_one_loop_at_a_time(other: str) -> None:
    gate, seen = anyio.Event(), list[object]()

    async def numbers() -> AsyncIterator[int]:
        await gate.wait()
        yield 1

    source = IterableSource(numbers)
    async with anyio.create_task_group() as group:
        group.start_soon(receive_into, source, seen)
        await wait_all_tasks_blocked()
        await refused_elsewhere(other, source.receive)
        gate.set()
    assert seen == [1]
    assert [item async for item in source] == []


@pytest.mark.anyio
@other_loop
async def test_a_piece_is_asked_by_one_loop_at_a_time(other: str) -> None:
    for make in (partial(throttle, rate=1e6), partial(batched, size=1), partial(limited, count=1)):
        source, seen = QueueSource[int](), list[object]()
        piece: AsyncIterator[object] = make(source)

        async def take(piece: AsyncIterator[object] = piece, seen: list[object] = seen) -> None:
            seen.append(await anext(piece, None))

        async with anyio.create_task_group() as group:
            group.start_soon(take)
            group.start_soon(take)
            await wait_all_tasks_blocked()
            await refused_elsewhere(other, lambda piece=piece: anext(piece))
            source.put_nowait(1)
            source.put_nowait(2)
            await wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert seen


@pytest.mark.parametrize("then", ["asyncio", "trio"])
def test_a_source_that_nobody_waits_in_goes_on_in_the_next_run(then: str, anyio_backend_name: str) -> None:
    """Also in another thread: nothing in it belongs to the run that has ended."""
    source, event = QueueSource[int](), EventSource[int]()

    async def run(expected: int) -> None:
        async def put() -> None:
            await source.put(expected)
            event.trigger(expected)

        with fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(put)
                assert await source.receive() == expected
                assert await event.receive() == expected

    anyio.run(run, 1, backend=anyio_backend_name)
    anyio.run(run, 2, backend=then)

    async def receive_elsewhere() -> None:
        source.put_nowait(3)
        await to_thread.run_sync(partial(anyio.run, source.receive, backend=then))

    anyio.run(receive_elsewhere, backend=anyio_backend_name)


@pytest.mark.anyio
@other_loop
async def test_a_file_is_opened_once_for_each_loop(other: str, tmp_path: Path) -> None:
    def calls(source: SqliteSource[int]) -> list[Callable[[], Awaitable[object]]]:
        return [lambda: source.put(1), lambda: source.put_many([1]), source.receive, source.statistics]

    async def body() -> None:
        for call in calls(source):
            with fail_after(5), pytest.raises(RuntimeError, match="another event loop: call it there"):
                await call()
        async with SqliteSource[int](tmp_path / "jobs.db") as mine:
            await mine.put(1)

    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        await to_thread.run_sync(partial(anyio.run, body, backend=other))
        with fail_after(5):
            assert (await anext(source)).value == 1
