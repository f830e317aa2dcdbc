"""`process`: all inputs, one outcome each, and what happens when some fail."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from worker_pool import Failure, PoolClosed, TaskAborted, WorkFailed, WorkPool
from worker_pool.testing import FakeWorkers, Hang

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio


async def double(x: int) -> int:
    return x * 2


async def slow_double(x: int) -> int:
    await checkpoint()
    return x * 2


def numbers() -> Iterator[int]:
    yield from range(10)


async def slow_numbers() -> AsyncIterator[int]:
    for i in range(10):
        await checkpoint()
        yield i


async def quick_numbers() -> AsyncIterator[int]:
    for i in range(10):
        yield i


class Again:
    """An iterator that is not a generator."""

    def __init__(self) -> None:
        self.n = 0

    def __iter__(self) -> Again:
        return self

    def __next__(self) -> int:
        self.n += 1
        if self.n > 10:
            raise StopIteration
        return self.n - 1


SOURCES = {
    "list": lambda: list(range(10)),
    "range": lambda: range(10),
    "generator": numbers,
    "generator function": lambda: numbers,
    "iterator": Again,
    "async generator": slow_numbers,
    "async generator that never waits": quick_numbers,
    "async generator function": lambda: slow_numbers,
}


@pytest.mark.parametrize("execute", [double, slow_double])
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
async def test_every_kind_of_source_is_run_to_its_end(source: Any, execute: Any) -> None:
    async with WorkPool[int, int](lambda: execute, max_size=3) as pool, pool.stream(source()) as outcomes:
        results = [outcome.result async for outcome in outcomes]  # type: ignore[union-attr]
    assert sorted(results) == [x * 2 for x in range(10)]


async def test_a_memory_stream_is_a_source() -> None:
    send, receive = anyio.create_memory_object_stream[int](3)
    async with WorkPool(lambda: double, max_size=2) as pool, anyio.create_task_group() as group:

        async def put() -> None:
            async with send:
                for i in range(20):
                    await send.send(i)

        group.start_soon(put)
        async with receive:
            summary = await pool.process(receive)
    assert summary.succeeded == 20


@pytest.mark.fault("99i")
@pytest.mark.parametrize("source", [[], iter(())], ids=["list", "iterator"])
async def test_an_empty_source_ends_at_once(source: Any) -> None:
    async with WorkPool(lambda: double) as pool:
        assert (await pool.process(source)).succeeded == 0
        assert pool.statistics().started == 0, "nothing to do starts nobody"


async def test_none_and_false_are_inputs_like_any_other() -> None:
    workers = FakeWorkers()
    async with WorkPool(workers, max_size=1) as pool:
        await pool.process([None, 0, False, ""])
    assert workers.inputs == [None, 0, False, ""]


async def test_what_is_no_source_is_refused_with_a_sentence() -> None:
    async with WorkPool(lambda: double) as pool:
        with pytest.raises(TypeError, match="a source must be an iterable"):
            await pool.process(5)  # type: ignore[arg-type]


async def test_failures_are_raised_together_after_all_inputs() -> None:
    workers = FakeWorkers([1, ValueError("second"), 3, KeyError("fourth"), 5])
    async with WorkPool(workers, max_size=1) as pool:
        with pytest.raises(WorkFailed) as caught:
            await pool.process("abcde")
    assert [repr(error) for error in caught.value.exceptions] == ["ValueError('second')", "KeyError('fourth')"]
    assert [failure.input for failure in caught.value.failures] == ["b", "d"]
    assert caught.value.summary.succeeded == 3
    assert "2 of 5 inputs failed" in str(caught.value)
    assert caught.value.__notes__ == ["what failed: 'b', 'd'"]
    assert workers.inputs == list("abcde")


async def test_failures_can_be_told_apart_by_except_star() -> None:
    async with WorkPool(FakeWorkers([ValueError(1), KeyError(2)]), max_size=1) as pool:
        seen = []
        try:
            await pool.process("ab")
        except* ValueError as group:
            seen += group.exceptions
        except* KeyError as group:
            seen += group.exceptions
    assert [type(error) for error in seen] == [ValueError, KeyError]


async def test_the_number_of_errors_kept_is_bounded_and_says_what_it_left_out() -> None:
    def fail(x: object) -> None:
        raise ValueError(x)

    async with WorkPool(FakeWorkers([fail] * 1000), max_size=2) as pool:
        with pytest.raises(WorkFailed, match="990 errors left out") as caught:
            await pool.process(range(1000), max_errors=10)
    assert len(caught.value.exceptions) == 10
    assert caught.value.left_out == 990
    (note,) = caught.value.__notes__
    assert re.fullmatch(r"what failed: (\d, ){5}\.\.\.", note)
    assert caught.value.summary.failed == 1000


async def test_stop_takes_nothing_after_the_first_failure() -> None:
    source = itertools.count()
    workers = FakeWorkers([1, 2, ValueError("third")])
    async with WorkPool(workers, max_size=1) as pool:
        with pytest.raises(WorkFailed) as caught:
            await pool.process(source, on_failure="stop")
    assert workers.inputs == [0, 1, 2]
    assert next(source) == 3, "not even one was taken beyond"
    assert caught.value.summary.failed == 1


async def test_stop_lets_what_runs_finish() -> None:
    go = anyio.Event()

    async def execute(x: int) -> int:
        if x == 1:
            raise ValueError
        await go.wait()
        return x

    async with WorkPool(lambda: execute, min_size=2, max_size=2) as pool, anyio.create_task_group() as group:

        async def run() -> None:
            with pytest.raises(WorkFailed) as caught:
                await pool.process(itertools.count(), on_failure="stop")
            assert caught.value.summary.failed == 1
            assert caught.value.summary.succeeded == 1

        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        go.set()


async def test_a_function_takes_failures_over_and_may_stop() -> None:
    failures: list[Failure[Any]] = []

    def handle(failure: Failure[Any]) -> bool:
        failures.append(failure)
        return len(failures) == 2

    async with WorkPool(FakeWorkers([ValueError(i) for i in range(5)]), max_size=1) as pool:
        summary = await pool.process(range(5), on_failure=handle)
    assert [failure.input for failure in failures] == [0, 1]
    assert summary.failed == 2


async def test_what_the_function_itself_raises_ends_the_call_bare() -> None:
    def handle(failure: Failure[Any]) -> None:
        raise RuntimeError("mine")

    async with WorkPool(FakeWorkers([ValueError("theirs")]), max_size=1) as pool:
        with pytest.raises(RuntimeError, match="mine"):
            await pool.process(range(5), on_failure=handle)
        assert await pool.execute(7) == 7


@pytest.mark.fault("99a")
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_the_source_raises_comes_bare_after_the_inputs_before_it(kind: str) -> None:
    class SayWhenError(Exception): ...

    def sync() -> Iterator[int]:
        yield 1
        yield 2
        raise SayWhenError

    async def asynchronous() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise SayWhenError

    workers = FakeWorkers()
    async with WorkPool(workers, max_size=2) as pool:
        with pytest.raises(SayWhenError):
            await pool.process(sync if kind == "sync" else asynchronous)
        assert sorted(workers.inputs) == [1, 2]
        assert pool.statistics().succeeded == 2
        assert await pool.execute(3) == 3


@pytest.mark.fault("99a")
async def test_a_source_that_fails_at_its_first_input() -> None:
    async with WorkPool(FakeWorkers()) as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.process(1 // 0 for _ in range(1))


@pytest.mark.fault("99f")
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_an_endless_source_is_read_exactly_as_far_as_there_are_slots(concurrency: int) -> None:
    source = itertools.count()
    async with WorkPool(FakeWorkers([Hang] * 100), max_size=2, concurrency=concurrency) as pool:
        async with anyio.create_task_group() as group:
            group.start_soon(pool.process, source)
            await anyio.wait_all_tasks_blocked()
            assert pool.statistics().running == 2 * concurrency, "all lanes are busy"
            assert next(source) == 2 * concurrency
            group.cancel_scope.cancel()


@pytest.mark.fault("99f")
async def test_an_async_source_is_read_exactly_as_far_as_there_are_slots() -> None:
    read = 0

    async def endless() -> AsyncIterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    async with WorkPool(FakeWorkers([Hang] * 100), max_size=3) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.process, endless)
        await anyio.wait_all_tasks_blocked()
        assert pool.statistics().running == read == 3
        group.cancel_scope.cancel()


@pytest.mark.stress
@pytest.mark.parametrize("size", [1, 2, 7, 16])
async def test_all_lanes_are_busy_when_inputs_are_ready(size: int) -> None:
    """A cap on wake-ups once left 2 of 16 lanes running, unnoticed."""
    go = anyio.Event()
    most = running = 0

    async def execute(x: int) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1

    async with WorkPool(lambda: execute, max_size=4, concurrency=size) as pool, anyio.create_task_group() as group:
        await pool.process([])
        for _ in range(3):  # from nothing, and again from idle
            group.start_soon(pool.process, range(100))
            await anyio.wait_all_tasks_blocked()
            assert running == 4 * size
            go.set()
            await anyio.wait_all_tasks_blocked()
            assert running == 0
            go = anyio.Event()


async def test_several_calls_share_the_workers_fairly() -> None:
    order: list[str] = []

    async def execute(x: str) -> None:
        order.append(x)
        await checkpoint()

    async with WorkPool(lambda: execute, max_size=1) as pool, anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(pool.process, [name] * 20)
    for name in "abc":
        assert [x for x in order[3:33] if x == name] == [name] * 10, "each has a third of the turns"


@pytest.mark.parametrize("other", ["sync", "execute"])
async def test_a_source_that_must_be_awaited_gets_its_turn_beside_busy_ones(other: str) -> None:
    seen: list[str] = []

    async def execute(x: str) -> None:
        seen.append(x)
        await checkpoint()

    async def asynchronous() -> AsyncIterator[str]:
        for _ in range(5):
            yield "async"

    async def execute_many() -> None:
        for _ in range(300):
            await pool.execute("sync")

    async with WorkPool(lambda: execute, max_size=1) as pool, anyio.create_task_group() as group:
        if other == "sync":
            group.start_soon(pool.process, ["sync"] * 1000)
        else:
            for _ in range(3):
                group.start_soon(execute_many)
        await checkpoint()
        await pool.process(asynchronous)
        assert len(seen) < 100, "it did not have to wait for the others to end"


async def test_an_execute_that_never_suspends_does_not_starve_others() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await checkpoint()

    async with WorkPool(lambda: double, max_size=2) as pool, anyio.create_task_group() as group:
        group.start_soon(tick)
        await pool.process(range(10_000))
        group.cancel_scope.cancel()
    assert ticks > 50


async def test_cancelling_a_call_cancels_its_inputs_and_spares_those_of_others() -> None:
    go = anyio.Event()
    async with WorkPool(FakeWorkers([Hang(go), Hang, Hang]), max_size=3) as pool, anyio.create_task_group() as group:
        results = []

        async def other() -> None:
            results.append(await pool.execute("mine"))

        group.start_soon(other)
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(pool.process, ["theirs"] * 5)
                await anyio.wait_all_tasks_blocked()
                assert pool.statistics().running == 3
                scope.cancel()
        assert pool.statistics().running == 1
        assert pool.statistics().unfinished == 2
        go.set()
    assert results == ["mine"]


async def test_a_call_before_or_after_the_block_is_refused() -> None:
    pool = WorkPool(lambda: double)
    with pytest.raises(RuntimeError, match="enter the pool first"):
        await pool.process([1])
    async with pool:
        pass
    with pytest.raises(PoolClosed):
        await pool.process([1])
    with pytest.raises(PoolClosed):
        await pool.execute(1)
    with pytest.raises(RuntimeError, match="entered once"):
        async with pool:
            pass


async def test_inputs_and_results_are_not_kept() -> None:
    """loky's `test_no_stale_references`."""
    import gc
    import weakref

    class Thing: ...

    things: list[weakref.ref[Thing]] = []

    def make() -> Iterator[Thing]:
        for _ in range(20):
            thing = Thing()
            things.append(weakref.ref(thing))
            yield thing
            del thing

    async def execute(x: Thing) -> None: ...

    async with WorkPool(lambda: execute, max_size=2) as pool:
        await pool.process(make)
        gc.collect()
        assert sum(ref() is not None for ref in things) <= 2, "at most the last of each worker"


async def test_a_word_for_failures_that_does_not_exist_is_refused() -> None:
    async with WorkPool(FakeWorkers()) as pool:
        with pytest.raises(ValueError, match="must be 'collect', 'stop' or a function, got 'ignore'"):
            await pool.process([1], on_failure="ignore")  # type: ignore[arg-type]
        assert pool.statistics().succeeded == 0


async def test_an_iterator_that_would_block_has_failed() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise anyio.WouldBlock

    with anyio.fail_after(5):
        async with WorkPool(FakeWorkers()) as pool:
            with pytest.raises(anyio.WouldBlock):
                await pool.process(source())


async def test_a_handler_of_failures_must_not_be_async_and_errors_are_kept_one_at_least() -> None:
    async def handle(failure: object) -> None: ...

    async with WorkPool(FakeWorkers()) as pool:
        with pytest.raises(TypeError, match="on_failure must not be async"):
            await pool.process([1], on_failure=handle)
        with pytest.raises(ValueError, match="max_errors must be at least 1, got 0"):
            await pool.process([1], max_errors=0)


@pytest.mark.parametrize("most", [1.5, None, "3"])
async def test_a_number_of_errors_that_is_none_is_refused_by_its_name(most: Any) -> None:
    async with WorkPool(FakeWorkers()) as pool:
        with pytest.raises(TypeError, match="max_errors must be a whole number"):
            await pool.process([1], max_errors=most)


async def test_a_handler_of_failures_that_turns_out_to_be_async_has_not_said_stop() -> None:
    async def note(_: object) -> None: ...

    async with WorkPool(FakeWorkers([ValueError()]), max_size=1) as pool:
        with pytest.raises(TypeError, match="on_failure must not be async: it returned <coroutine"):
            await pool.process("ab", on_failure=lambda failure: note(failure))


async def test_an_execute_that_leaves_with_what_cannot_be_shown_has_failed() -> None:
    class Shy(SystemExit):
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    async def execute(_: int) -> None:
        raise Shy

    with anyio.fail_after(5):
        async with WorkPool(lambda: execute, destroy_timeout=1, grace=1) as pool:
            with pytest.raises(TaskAborted, match="execute left with <Shy, whose repr raised RuntimeError>"):
                await pool.execute(1)
