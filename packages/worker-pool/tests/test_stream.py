"""`stream`: every outcome in the user's hands; slow consumers slow the source."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from worker_pool import Failure, Settle, Success, WorkFailed, WorkPool
from worker_pool.testing import FakeWorkers, Hang

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio


async def test_outcomes_are_matched_by_their_kind() -> None:
    error = ValueError("no")
    async with WorkPool(FakeWorkers([10, error]), max_size=1) as pool, pool.stream("ab") as outcomes:
        seen: list[Any] = []
        async for outcome in outcomes:
            match outcome:
                case Success(input, result):
                    seen.append((input, result))
                case Failure(input, error):
                    seen.append((input, error))
    assert seen == [("a", 10), ("b", error)]


async def test_an_outcome_tells_who_when_how_long_and_how_often() -> None:
    async with WorkPool(FakeWorkers([1]), max_size=1) as pool, pool.stream("a") as outcomes:
        outcome = await anext(outcomes)
    assert outcome.attempts == 1
    assert outcome.worker == 1
    assert outcome.started > 0
    assert 0 <= outcome.duration < 5


async def test_ordered_gives_them_in_the_order_of_the_inputs() -> None:
    events = {i: anyio.Event() for i in range(6)}

    async def execute(x: int) -> int:
        await events[x].wait()
        return x

    async with WorkPool(lambda: execute, max_size=3) as pool, anyio.create_task_group() as group:

        async def release() -> None:
            for i in (2, 1, 0, 5, 4, 3):
                await anyio.wait_all_tasks_blocked()
                events[i].set()

        group.start_soon(release)
        async with pool.stream(range(6), ordered=True) as outcomes:
            assert [outcome.input async for outcome in outcomes] == list(range(6))


async def test_unordered_gives_them_as_they_happen() -> None:
    first = anyio.Event()

    async def execute(x: int) -> int:
        if x == 0:
            await first.wait()
        return x

    async with WorkPool(lambda: execute, max_size=2) as pool, pool.stream(range(4)) as outcomes:
        seen = [(await anext(outcomes)).input for _ in range(3)]
        first.set()
        seen += [outcome.input async for outcome in outcomes]
    assert sorted(seen[:3]) == [1, 2, 3]
    assert seen[3] == 0


@pytest.mark.fault("99f")
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_slow_consumer_slows_the_source(ordered: bool) -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for taken in itertools.count(1):
            yield taken

    async with WorkPool(FakeWorkers(), max_size=2, concurrency=2) as pool:
        async with pool.stream(source, ordered=ordered) as outcomes:
            for looked_at in range(1, 40):
                await anext(outcomes)
                await anyio.wait_all_tasks_blocked()
                assert taken - looked_at <= 8, "twice the slots"
        await anyio.wait_all_tasks_blocked()
        assert taken - looked_at <= 8


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_hanging_first_input_bounds_what_an_ordered_stream_keeps(ordered: bool) -> None:
    source = itertools.count()
    go = anyio.Event()
    async with WorkPool(FakeWorkers([Hang(go)]), max_size=2) as pool:
        async with pool.stream(source, ordered=ordered) as outcomes:
            await anyio.wait_all_tasks_blocked()
            assert next(source) == 4
            go.set()
            await anext(outcomes)


async def test_leaving_early_cancels_what_runs() -> None:
    source = itertools.count()
    async with WorkPool(FakeWorkers(["first"] + [Hang] * 50), max_size=3) as pool:
        async with pool.stream(source) as outcomes:
            async for _ in outcomes:
                break
            await anyio.wait_all_tasks_blocked()
            assert pool.statistics().running == 3
        assert pool.statistics().running == 0
        before = next(source)
        await anyio.wait_all_tasks_blocked()
        assert next(source) == before + 1, "nothing is taken any more"


async def test_an_error_of_the_consumer_leaves_bare() -> None:
    async with WorkPool(FakeWorkers()) as pool:
        with pytest.raises(KeyError, match="mine"):
            async with pool.stream(itertools.count()) as outcomes:
                async for _ in outcomes:
                    raise KeyError("mine")
        assert await pool.execute(1) == 1


@pytest.mark.fault("99a")
async def test_what_the_source_raises_comes_once_after_the_outcomes() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("source")

    async with WorkPool(FakeWorkers(), max_size=2) as pool, pool.stream(source) as outcomes:
        assert sorted([(await anext(outcomes)).input, (await anext(outcomes)).input]) == [1, 2]
        with pytest.raises(OSError, match="source"):
            await anext(outcomes)
        with pytest.raises(StopAsyncIteration):
            await anext(outcomes)


async def test_a_stream_can_be_shared_by_several_consumers() -> None:
    seen: list[int] = []

    async def execute(x: int) -> int:
        await checkpoint()
        return x

    async with WorkPool(lambda: execute, max_size=3) as pool, pool.stream(range(50)) as outcomes:

        async def consume() -> None:
            async for outcome in outcomes:
                seen.append(outcome.input)
                await checkpoint()

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(consume)
    assert sorted(seen) == list(range(50))


async def test_it_must_be_entered_once_and_first() -> None:
    async with WorkPool(FakeWorkers()) as pool:
        stream = pool.stream([1])
        with pytest.raises(RuntimeError, match="enter the stream first"):
            await anext(stream)
        async with stream:
            pass
        with pytest.raises(RuntimeError, match="entered once"):
            async with stream:
                pass


async def test_a_shutdown_ends_it_after_the_last_outcome_and_the_summary_tells() -> None:
    go = anyio.Event()
    async with WorkPool(FakeWorkers([Hang(go)]), max_size=1) as pool, pool.stream("abc") as outcomes:
        await anyio.wait_all_tasks_blocked()
        pool.close()
        go.set()
        assert [outcome.input async for outcome in outcomes] == ["a"]
        assert outcomes.summary.succeeded == 1


async def test_a_million_inputs_take_no_memory() -> None:
    """Scaled down: what matters is that nothing grows with their number."""
    import tracemalloc

    async def execute(x: int) -> bytes:
        return bytes(100)

    async def run(count: int) -> int:
        tracemalloc.start()
        async with WorkPool(lambda: execute, max_size=4) as pool, pool.stream(range(count)) as outcomes:
            async for _ in outcomes:
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert await run(5000) < await run(500) + 100_000


@pytest.mark.stress
async def test_no_input_overtakes_another_while_the_pool_waits_for_the_next() -> None:
    """The task that waits gets an item, and runs later: a worker that is free meanwhile must not take the one after."""
    send, receive = anyio.create_memory_object_stream[int](100)
    order: list[int] = []

    async def execute(x: int) -> int:
        for _ in range(x % 3):
            await anyio.lowlevel.checkpoint()
        return x

    async def consume() -> None:
        async with pool.stream(receive, ordered=True) as outcomes:
            async for outcome in outcomes:
                order.append(outcome.unwrap())

    async with WorkPool(lambda: execute, max_size=3) as pool, anyio.create_task_group() as group:
        group.start_soon(consume)
        for n in range(300):
            send.send_nowait(n)
            for _ in range(n % 4):
                await anyio.lowlevel.checkpoint()
        send.close()
    receive.close()
    assert order == list(range(300))


@pytest.mark.parametrize("ordered", [False, True])
async def test_leaving_a_stream_starts_nothing_more(ordered: bool) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for x in range(1000):
            taken.append(x)
            yield x

    class Worker:
        overlaps = True

        async def execute(self, x: int) -> int:
            return x

        def submit(self, inputs: list[int], settle: Settle) -> None:
            for i, x in enumerate(inputs):
                settle(i, Success(x, x))

    with anyio.fail_after(5):
        async with WorkPool(Worker, max_size=1) as pool:
            async with pool.stream(source(), ordered=ordered) as outcomes:
                async for _ in outcomes:
                    await anyio.wait_all_tasks_blocked()  # the window is full
                    seen = len(taken)
                    break
            assert len(taken) == seen


@pytest.mark.stress
@pytest.mark.parametrize("how", ["leave", "stop", "close"])
async def test_a_generator_that_yields_in_a_task_group_is_closed_from_inside(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    ends: list[str] = []

    async def helper() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("helper")

    async def source() -> AsyncIterator[int]:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(helper)
                for i in range(100):
                    await checkpoint()
                    yield i
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            ends.append("source")

    async def work(x: int) -> int:
        if x == 3:
            raise ValueError(x)
        return x

    with anyio.fail_after(5):
        async with WorkPool(lambda: work, max_size=2) as pool:
            if how == "stop":
                with pytest.raises(WorkFailed):
                    await pool.process(source, on_failure="stop")
            else:
                async with pool.stream(source) as outcomes:
                    async for _ in outcomes:
                        await anyio.wait_all_tasks_blocked()
                        break
                    if how == "close":
                        pool.close()
            assert ends == ["helper", "source"] or how == "close"
            if how != "close":
                assert await pool.execute(5) == 5
    assert ends == ["helper", "source"]
    assert not [record for record in caplog.records if record.name == "worker_pool" and record.levelname == "ERROR"]
