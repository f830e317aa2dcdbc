"""The end of a pool: by leaving the block, by shutdown, from everywhere, and nested use."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from worker_pool import PoolClosed, PoolDeadlock, WorkPool
from worker_pool.testing import FakeWorker, FakeWorkers, Hang

pytestmark = pytest.mark.anyio


async def test_leaving_the_block_waits_for_what_runs() -> None:
    go = anyio.Event()
    async with anyio.create_task_group() as group:
        async with WorkPool(FakeWorkers([Hang(go)]), max_size=1) as pool:
            results: list[Any] = []

            async def ask() -> None:
                results.append(await pool.execute("a"))

            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(set_soon, go)
        await checkpoint()
        assert results == ["a"]


async def set_soon(event: anyio.Event) -> None:
    await anyio.wait_all_tasks_blocked()
    event.set()


@pytest.mark.fault(45)
async def test_those_who_wait_for_a_worker_are_refused_at_once() -> None:
    go = anyio.Event()
    workers = FakeWorkers([Hang(go)])
    async with WorkPool(workers, max_size=1) as pool, anyio.create_task_group() as group:
        refused = 0

        async def ask() -> None:
            nonlocal refused
            with pytest.raises(PoolClosed):
                await pool.execute("waits")
            refused += 1

        group.start_soon(pool.execute, "runs")
        await anyio.wait_all_tasks_blocked()
        for _ in range(10):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        pool.close()
        await anyio.wait_all_tasks_blocked()
        assert refused == 10
        go.set()
    assert len(workers.made) == 1, "no new worker"


@pytest.mark.fault(46)
async def test_what_outlasts_the_grace_is_cancelled() -> None:
    async with WorkPool(FakeWorkers([Hang, Hang]), max_size=2) as pool, anyio.create_task_group() as group:
        ends: list[Any] = []

        async def ask() -> None:
            with pytest.raises(PoolClosed, match="before this input had ended"):
                await pool.execute("a")
            ends.append("execute")

        async def run() -> None:
            ends.append(await pool.process(["b"]))

        group.start_soon(ask)
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(2):
            await pool.shutdown(grace=0.01)
    assert "execute" in ends
    [summary] = [end for end in ends if end != "execute"]
    assert (summary.succeeded, summary.unfinished) == (0, 1)


@pytest.mark.fault(47)
async def test_workers_that_start_are_ended_too() -> None:
    class Slow(FakeWorker):
        async def init(self) -> None:
            await super().init()
            await anyio.sleep_forever()

    made: list[Slow] = []

    def make() -> Slow:
        made.append(Slow())
        return made[-1]

    with anyio.fail_after(2):
        async with WorkPool(make, min_size=2, max_size=2) as pool, anyio.create_task_group() as group:

            async def ask() -> None:
                with pytest.raises(PoolClosed):
                    await pool.execute("a")

            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await pool.shutdown()
    assert [worker.calls for worker in made] == [["init", "destroy"]] * 2


@pytest.mark.fault(48)
async def test_it_can_be_shut_down_twice_and_from_several_tasks() -> None:
    workers = FakeWorkers([Hang])
    async with WorkPool(workers, max_size=1) as pool, anyio.create_task_group() as group:
        with anyio.fail_after(2):
            async with anyio.create_task_group() as inner:
                for _ in range(3):
                    inner.start_soon(pool.shutdown, 10)
                inner.start_soon(pool.shutdown, 0.01)
            await pool.shutdown()
        group.cancel_scope.cancel()


@pytest.mark.fault(48)
@pytest.mark.parametrize("how", ["shutdown", "close"])
async def test_a_task_can_close_its_own_pool(how: str) -> None:
    async def execute(x: int) -> int:
        if x == 3:
            if how == "close":
                pool.close()
            else:
                await pool.shutdown()
        return x

    with anyio.fail_after(2):
        async with WorkPool(lambda: execute, max_size=1) as pool:
            summary = await pool.process(itertools.count())
    assert summary.succeeded == 4


@pytest.mark.fault(48)
@pytest.mark.parametrize("where", ["on_failure", "listener", "source", "stream"])
async def test_every_callback_can_close_its_pool(where: str) -> None:
    def source() -> Any:
        for i in itertools.count():
            if where == "source" and i == 5:
                pool.close()
            yield i

    def close(_: object) -> None:
        pool.close()

    script = [ValueError()] if where == "on_failure" else []
    with anyio.fail_after(2):
        async with WorkPool(FakeWorkers(script), max_size=2) as pool:
            if where == "listener":
                pool.listen(close)
            if where == "stream":
                async with pool.stream(source) as outcomes:
                    async for _ in outcomes:
                        await pool.shutdown()
            else:
                await pool.process(source, on_failure=close)


@pytest.mark.fault(49)
async def test_a_worker_that_crashes_in_the_grace_ends_its_input_and_the_shutdown() -> None:
    go = anyio.Event()

    async def crash(_: object) -> None:
        await go.wait()
        raise ConnectionError("died")

    async with WorkPool(FakeWorkers([crash]), max_size=1) as pool, anyio.create_task_group() as group:

        async def ask() -> None:
            with pytest.raises(ConnectionError):
                await pool.execute("a")

        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        pool.close()
        go.set()
        with anyio.fail_after(2):
            await pool.shutdown()


@pytest.mark.fault(51)
async def test_the_error_of_the_block_leaves_bare_and_in_haste() -> None:
    workers = FakeWorkers([Hang])
    with anyio.fail_after(3):
        async with anyio.create_task_group() as group:
            with pytest.raises(KeyError, match="mine"):
                async with WorkPool(workers, max_size=1) as pool:

                    async def ask() -> None:
                        with pytest.raises(PoolClosed):
                            await pool.execute("a")

                    group.start_soon(ask)
                    await anyio.wait_all_tasks_blocked()
                    raise KeyError("mine")
    assert workers.made[0].calls[-1] == "destroy"


@pytest.mark.fault(51)
async def test_cancelling_the_block_ends_everything_and_is_no_error() -> None:
    workers = FakeWorkers([Hang])
    with anyio.fail_after(3), anyio.CancelScope() as scope:
        async with WorkPool(workers, max_size=1) as pool, anyio.create_task_group() as group:
            group.start_soon(pool.execute, "a")
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert workers.made[0].calls[-1] == "destroy"


async def test_a_cancelled_shutdown_still_ends_everything_in_haste() -> None:
    workers = FakeWorkers([Hang])
    with anyio.fail_after(3):
        async with WorkPool(workers, max_size=1) as pool, anyio.create_task_group() as group:

            async def ask() -> None:
                with pytest.raises(PoolClosed):
                    await pool.execute("a")

            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0.01) as scope:
                await pool.shutdown(grace=60)
            assert scope.cancelled_caught
            assert workers.made[0].calls[-1] == "destroy"


async def test_after_a_shutdown_the_block_goes_on() -> None:
    async with WorkPool(FakeWorkers()) as pool:
        await pool.shutdown()
        await checkpoint()
        assert pool.statistics().alive == 0


async def test_process_returns_its_counts_after_a_shutdown() -> None:
    go = anyio.Event()
    source = itertools.count()
    async with WorkPool(FakeWorkers([1, 2, Hang(go)]), max_size=1) as pool, anyio.create_task_group() as group:
        summaries: list[Any] = []

        async def run() -> None:
            summaries.append(await pool.process(source))

        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        pool.close()
        go.set()
    assert (summaries[0].succeeded, summaries[0].unfinished) == (3, 0)
    assert next(source) == 3


async def test_an_unused_pool_leaves_nothing() -> None:
    pool = WorkPool(FakeWorkers(), min_size=2, max_size=2)
    del pool
    async with WorkPool(FakeWorkers(), min_size=2, max_size=2):
        pass
    gc.collect()


async def test_a_pool_that_was_closed_before_it_was_entered_refuses() -> None:
    pool = WorkPool(FakeWorkers(), min_size=1)
    pool.close()
    with anyio.fail_after(5):
        async with pool:
            with pytest.raises(PoolClosed):
                await pool.execute("a")
            with pytest.raises(PoolClosed):
                await pool.process("a")
    assert pool.statistics().started == 0


# --- nested use


@pytest.mark.fault(100)
@pytest.mark.parametrize("how", ["execute", "process", "stream"])
@pytest.mark.parametrize("size", [1, 3])
async def test_a_task_that_waits_for_its_own_full_pool_is_told_so(how: str, size: int) -> None:
    async def execute(depth: int) -> int:
        if depth == 0:
            return 0
        if how == "execute":
            return 1 + await pool.execute(depth - 1)
        if how == "process":
            await pool.process([depth - 1])
            return depth
        async with pool.stream([depth - 1]) as outcomes:
            async for outcome in outcomes:
                return 1 + outcome.result
        raise AssertionError

    with anyio.fail_after(5):
        async with WorkPool(lambda: execute, max_size=size) as pool:
            assert await pool.execute(size - 1) == size - 1
            with pytest.raises(Exception) as caught:  # noqa: PT011 - which class it is depends on `how`
                await pool.execute(size)
            error: BaseException = caught.value
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            if how != "stream":
                assert isinstance(error, PoolDeadlock)
            assert await pool.execute(0) == 0


async def test_several_tasks_that_nest_deadlock_never() -> None:
    async def execute(x: int) -> int:
        if x == 0:
            return 0
        try:
            return await pool.execute(x - 1)
        except PoolDeadlock:
            return -1

    with anyio.fail_after(5):
        async with WorkPool(lambda: execute, max_size=2) as pool, anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(pool.execute, 3)


@pytest.mark.fault(100)
async def test_a_worker_may_feed_its_own_source() -> None:
    send, receive = anyio.create_memory_object_stream[int](100)
    seen: list[int] = []

    async def execute(x: int) -> None:
        seen.append(x)
        if x < 5:
            send.send_nowait(x + 1)
            send.send_nowait(x + 1)
        elif len(seen) == 63:
            send.close()

    with anyio.fail_after(5):
        async with WorkPool(lambda: execute, max_size=2) as pool, receive:
            send.send_nowait(0)
            await pool.process(receive)
    assert len(seen) == 63


async def test_pools_nest_in_pools() -> None:
    async with WorkPool(FakeWorkers(), max_size=1) as inner:

        async def execute(x: int) -> int:
            return await inner.execute(x) + 1

        async with WorkPool(lambda: execute, max_size=3) as outer:
            assert (await outer.process(range(20))).succeeded == 20


# --- Ctrl-C

INTERRUPTED = """
import sys, time
import anyio
from worker_pool import WorkPool
from worker_pool.testing import FakeWorker

class Interrupted(FakeWorker):
    def interrupt(self, *_):
        raise KeyboardInterrupt

async def main():
    worker = Interrupted()
    setattr(worker, sys.argv[2], worker.interrupt)
    async with WorkPool(lambda: worker, max_size=1, min_size=1) as pool:
        await pool.execute("a")
        if sys.argv[2] != "destroy":
            await anyio.sleep_forever()

start = time.perf_counter()
try:
    anyio.run(main, backend=sys.argv[1])
except BaseException as error:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    print(type(error).__name__, time.perf_counter() - start < 5)
"""


@pytest.mark.fault(93)
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("hook", ["init", "execute", "release", "destroy"])
def test_ctrl_c_in_the_task_of_a_worker_ends_the_pool_at_once(loop: str, hook: str) -> None:
    """trio raises it in whichever task runs, asyncio in the callback that runs."""
    command = [sys.executable, "-W", "error", "-c", INTERRUPTED, loop, hook]
    done = subprocess.run(command, capture_output=True, timeout=15)
    assert done.stdout == b"KeyboardInterrupt True\n"


async def test_those_who_waited_count_as_unfinished() -> None:
    async with WorkPool(FakeWorkers([Hang] * 4), max_size=1) as pool, anyio.create_task_group() as group:

        async def run() -> None:
            with pytest.raises(PoolClosed):
                await pool.execute(1)

        for _ in range(4):
            group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        assert (pool.statistics().waiting, pool.statistics().running) == (3, 1)
        await pool.shutdown(0)
    assert (pool.statistics().waiting, pool.statistics().unfinished) == (0, 4)
