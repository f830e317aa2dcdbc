"""EventSource: callbacks, threads, and a line that stays bounded."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import WouldBlock, fail_after, to_thread, wait_all_tasks_blocked

from worker_sources import EventSource, QueueFull, SourceClosed

pytestmark = pytest.mark.anyio


async def test_immediate_goes_to_the_front() -> None:
    source = EventSource[str]()
    source.trigger("a")
    source.trigger("b")
    source.trigger("now", immediate=True)
    source.close()
    assert [item async for item in source] == ["now", "a", "b"]


@pytest.mark.fault("99h")
async def test_triggers_of_one_tick_are_that_many_items() -> None:
    source, seen = EventSource[int](), []

    async def consume() -> None:
        async for item in source:
            seen.append(item)

    with fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            await wait_all_tasks_blocked()
            source.trigger(1)
            source.trigger(2)
            source.close()
    assert seen == [1, 2]


async def test_two_waiters_and_one_trigger_is_one_item() -> None:
    source, seen = EventSource[int](), []

    async def consume() -> None:
        async for item in source:
            seen.append(item)

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        group.start_soon(consume)
        await wait_all_tasks_blocked()
        source.trigger(1)
        await wait_all_tasks_blocked()
        assert seen == [1]
        source.close()


async def test_a_list_is_one_item() -> None:
    source = EventSource[list[int]]()
    source.trigger([1, 2])
    assert source.receive_nowait() == [1, 2]


async def test_overflow_is_an_error_by_default() -> None:
    source = EventSource[int](max_pending=2)
    source.trigger(1)
    source.trigger(2)
    with pytest.raises(QueueFull):
        source.trigger(3)
    source.close()
    assert [item async for item in source] == [1, 2]
    with pytest.raises(SourceClosed):
        source.trigger(4)


async def test_overflow_may_drop_the_oldest_and_counts_it() -> None:
    source = EventSource[int](max_pending=2, overflow="drop_oldest")
    for number in range(5):
        source.trigger(number)
    source.close()
    assert [item async for item in source] == [3, 4]
    assert source.dropped == 3
    assert source.total == 2


async def test_a_waiting_consumer_is_served_before_anything_overflows() -> None:
    source = EventSource[int](max_pending=1)
    async with anyio.create_task_group() as group:
        group.start_soon(source.receive)
        await wait_all_tasks_blocked()
        source.trigger(1)
        source.trigger(2)
        with pytest.raises(QueueFull):
            source.trigger(3)


async def test_any_thread_may_trigger_and_nothing_is_lost() -> None:
    source, seen = EventSource[int](), []

    def producer(base: int) -> None:
        for number in range(50):
            source.trigger_threadsafe(base + number)

    async def consume() -> None:
        async for item in source:
            seen.append(item)

    with fail_after(20):
        async with anyio.create_task_group() as consumers:
            consumers.start_soon(consume)
            async with anyio.create_task_group() as producers:
                for base in (0, 100, 200):
                    producers.start_soon(to_thread.run_sync, producer, base)
            source.close()
    assert sorted(seen) == [*range(50), *range(100, 150), *range(200, 250)]


async def test_a_thread_hears_of_a_full_or_closed_source() -> None:
    source = EventSource[int](max_pending=1)
    await to_thread.run_sync(source.trigger_threadsafe, 1)
    with pytest.raises(QueueFull):
        await to_thread.run_sync(source.trigger_threadsafe, 2)
    source.close()
    with pytest.raises(SourceClosed):
        await to_thread.run_sync(source.trigger_threadsafe, 3)


async def test_threadsafe_from_the_loops_own_thread_does_not_wait_for_itself() -> None:
    source = EventSource[int]()
    source.trigger_threadsafe(1)
    assert source.receive_nowait() == 1


async def test_a_source_made_elsewhere_finds_its_loop_at_the_first_use() -> None:
    made: list[EventSource[int]] = []
    thread = threading.Thread(target=lambda: made.append(EventSource[int]()))
    thread.start()
    thread.join()
    (source,) = made
    with pytest.raises(RuntimeError, match="before any use"):
        source.trigger_threadsafe(1)
    async with source:
        await to_thread.run_sync(source.trigger_threadsafe, 1)
        assert await source.receive() == 1


@pytest.mark.parametrize("then", ["asyncio", "trio"])
@pytest.mark.parametrize("use", ["receive", "anext", "iterate", "enter"])
def test_it_moves_to_the_event_loop_of_the_next_run(use: str, then: str, anyio_backend_name: str) -> None:
    source = EventSource[int]()

    async def run() -> None:
        async def consume() -> None:
            if use == "receive":
                got.append(await source.receive())
            elif use == "anext":
                got.append(await anext(source))
            else:
                async for item in source:
                    got.append(item)
                    break

        got = list[int]()
        with fail_after(5):
            if use == "enter":
                await source.__aenter__()
                await to_thread.run_sync(source.trigger_threadsafe, 1)
                await consume()
            else:
                async with anyio.create_task_group() as group:
                    group.start_soon(consume)
                    await wait_all_tasks_blocked()
                    await to_thread.run_sync(source.trigger_threadsafe, 1)
            source.trigger(2)
            assert await source.receive() == 2
        assert got == [1]

    anyio.run(run, backend=anyio_backend_name)
    anyio.run(run, backend=then)


async def test_it_does_not_move_away_from_who_waits() -> None:
    source, got = EventSource[int](), list[int]()

    async def consume() -> None:
        got.append(await source.receive())

    async def elsewhere() -> None:
        await source.__aenter__()
        with pytest.raises(RuntimeError, match="another thread"):
            await anext(aiter(source))

    with fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            await wait_all_tasks_blocked()
            await to_thread.run_sync(anyio.run, elsewhere)
            await to_thread.run_sync(source.trigger_threadsafe, 1)
    assert got == [1]


async def test_what_trigger_refuses_in_a_live_loop_is_not_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    source = EventSource[int]()

    def refuse(item: int, immediate: bool = False) -> None:
        raise RuntimeError("refused")

    monkeypatch.setattr(source, "trigger", refuse)
    with pytest.raises(RuntimeError, match="refused"):
        await to_thread.run_sync(source.trigger_threadsafe, 1)


def test_a_loop_that_has_ended_is_a_closed_source(anyio_backend_name: str) -> None:
    async def main() -> EventSource[int]:
        return EventSource[int]()

    source = anyio.run(main, backend=anyio_backend_name)
    failure: list[BaseException] = []

    def late() -> None:
        try:
            source.trigger_threadsafe(1)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=late)
    thread.start()
    thread.join(5)
    assert isinstance(failure[0], SourceClosed)
    with pytest.raises(WouldBlock):
        source.receive_nowait()


def test_a_loop_that_is_closed_with_the_trigger_in_its_hands_is_a_closed_source() -> None:
    handed_over, told = threading.Event(), list[type[Exception] | None]()

    class Loop(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:
            handle = super().call_soon_threadsafe(*args, **kwargs)
            handed_over.set()
            return handle

    async def make() -> EventSource[int]:
        return EventSource[int]()

    def trigger() -> None:
        try:
            source.trigger_threadsafe(1)
        except SourceClosed as error:
            told.append(type(error))

    loop = Loop()
    source = loop.run_until_complete(make())
    thread = threading.Thread(target=trigger, daemon=True)  # or a hang would outlive the test
    thread.start()
    assert handed_over.wait(5)
    loop.close()
    thread.join(5)
    assert told == [SourceClosed]
    assert len(source) == 0


@pytest.mark.stress
def test_threads_that_trigger_while_the_loop_ends_are_all_told(anyio_backend_name: str) -> None:
    made, told = threading.Event(), list[str]()
    sources = list[EventSource[int]]()

    def trigger() -> None:
        made.wait()
        try:
            while True:
                sources[0].trigger_threadsafe(1)
        except SourceClosed:
            told.append("told")

    async def main() -> None:
        sources.append(EventSource[int](overflow="drop_oldest", max_pending=5))
        made.set()
        while len(sources[0]) < 5:
            await anyio.lowlevel.checkpoint()

    threads = [threading.Thread(target=trigger, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    anyio.run(main, backend=anyio_backend_name)
    for thread in threads:
        thread.join(5)
    assert told == ["told"] * 3


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="max_pending must be 1 or more"):
        EventSource(max_pending=0)
    with pytest.raises(ValueError, match="overflow must be"):
        EventSource(overflow="block")  # type: ignore[arg-type]


async def test_a_signal_handler_wakes_a_loop_that_sleeps() -> None:
    source, slept = EventSource[str](), threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: source.trigger_threadsafe("signal"))

    def interrupt() -> None:
        slept.wait(5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    try:
        with fail_after(20):
            thread.start()
            async with anyio.create_task_group() as group:
                got: list[str] = []

                async def consume() -> None:
                    got.append(await source.receive())

                group.start_soon(consume)
                await wait_all_tasks_blocked()
                slept.set()
            assert got == ["signal"]
    finally:
        signal.signal(signal.SIGUSR1, before)
        slept.set()
        thread.join()
