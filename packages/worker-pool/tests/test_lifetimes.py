"""When a worker's time begins and ends: late starts, idle time, ends of its own, and what is not its end."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from worker_pool import Failure, PoolBroken, StartTimeout, TaskAborted, TaskTimeout, WorkerStopped, WorkPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio


class Late:
    """Its start blocks the event loop, so that no limit can interrupt it."""

    def __init__(self, log: list[str], seconds: float) -> None:
        self.log = log
        self.seconds = seconds

    async def init(self) -> None:
        await anyio.lowlevel.checkpoint()
        time.sleep(self.seconds)  # noqa: ASYNC251 - it is one that blocks

    async def execute(self, x: object) -> object:
        self.log.append("execute")
        return x

    async def destroy(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append("destroyed")


@pytest.mark.stress
async def test_a_worker_that_is_ready_too_late_is_none_and_is_destroyed() -> None:
    log: list[str] = []
    async with WorkPool(lambda: Late(log, 0.05), init_timeout=0.01, start_backoff=0, max_size=1) as pool:
        with pytest.raises(PoolBroken) as broken:
            await pool.execute(1)
        assert isinstance(broken.value.__cause__, StartTimeout)
        assert pool.statistics().started == 0
    assert log == ["destroyed"] * 3


@pytest.mark.stress
async def test_a_worker_that_is_ready_after_the_end_is_destroyed_too() -> None:
    log: list[str] = []
    is_ready = anyio.Event()

    class Shielded(Late):
        async def init(self) -> None:
            with anyio.CancelScope(shield=True):
                await is_ready.wait()

    async with WorkPool(lambda: Shielded(log, 0), min_size=1) as pool, anyio.create_task_group() as group:
        await anyio.wait_all_tasks_blocked()
        group.start_soon(pool.shutdown)
        await anyio.wait_all_tasks_blocked()
        is_ready.set()
    assert log == ["destroyed"]


async def test_a_worker_that_ends_by_itself_is_not_replaced_in_a_storm() -> None:
    @asynccontextmanager
    async def make() -> AsyncIterator[Any]:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            yield work

    async def fail() -> None:
        raise OSError("connection lost")

    async def work(x: object) -> object:
        return x

    ends = anyio.Event()
    times: list[float] = []

    def note(event: object) -> None:
        if isinstance(event, WorkerStopped):
            times.append(time.perf_counter())
            if len(times) == 4:
                ends.set()

    with anyio.fail_after(10):
        async with WorkPool(make, min_size=1, max_size=1, start_backoff=0.02) as pool:
            pool.listen(note)
            await ends.wait()
    assert times[3] - times[0] >= 0.02 + 0.04 + 0.08


class Submitting:
    """Settles what it is given one turn of the event loop later."""

    overlaps = True
    batch = 8

    async def execute(self, x: object) -> object:
        return x

    def submit(self, inputs: list[Any], settle: Any) -> None:
        for i, x in enumerate(inputs):
            asyncio_or_trio_soon(lambda i=i, x=x: settle.many([(i, x, None)]))


def asyncio_or_trio_soon(call: Any) -> None:
    if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
        asyncio.get_running_loop().call_soon(call)
    else:
        import trio

        trio.lowlevel.current_trio_token().run_sync_soon(call)


@pytest.mark.stress
async def test_a_worker_with_submit_that_is_idle_ends_in_its_time() -> None:
    await _expect_idle(Submitting, [1] * 20)


@pytest.mark.stress
async def test_an_input_that_was_cut_is_the_last_work_too() -> None:
    class Survivor:
        survives_cancel = True

        async def execute(self, x: object) -> None:
            await anyio.sleep_forever()

    stopped = anyio.Event()
    async with WorkPool(Survivor, max_size=1, idle_timeout=0.05) as pool:
        pool.listen(lambda event: stopped.set() if isinstance(event, WorkerStopped) else None)
        for _ in range(2):
            with anyio.move_on_after(0.02):
                await pool.execute(1)
        with anyio.fail_after(5):
            await stopped.wait()


async def _expect_idle(make: Any, inputs: list[Any]) -> None:
    reasons: list[str] = []
    stopped = anyio.Event()

    def note(event: object) -> None:
        if isinstance(event, WorkerStopped):
            reasons.append(event.reason)
            stopped.set()

    async with WorkPool(make, max_size=1, idle_timeout=0.05) as pool:
        pool.listen(note)
        await pool.process(inputs)
        with anyio.fail_after(5):
            await stopped.wait()
    assert reasons == ["idle"]


@pytest.mark.stress
async def test_a_worker_that_is_busy_all_the_time_is_never_idle() -> None:
    async def burn(x: object) -> None:
        end = time.perf_counter() + 0.0002
        while time.perf_counter() < end:
            pass

    stopped: list[WorkerStopped] = []
    async with WorkPool(lambda: burn, max_size=1, idle_timeout=0.05) as pool:
        await pool.execute(0)
        await anyio.wait_all_tasks_blocked()  # it has been idle, for a moment
        pool.listen(lambda event: stopped.append(event) if isinstance(event, WorkerStopped) else None)
        await pool.process(range(1000))
        assert stopped == []


async def test_after_a_slow_release_a_limit_is_a_limit() -> None:
    class Resetting:
        async def execute(self, x: str) -> str:
            if x == "hang":
                await anyio.sleep_forever()
            return x

        async def release(self) -> None:
            await anyio.sleep(0.15)

    begun = time.perf_counter()
    async with WorkPool(Resetting, max_size=1, execute_timeout=0.1, destroy_timeout=60) as pool:
        async with pool.stream(["ok", "hang"], ordered=True) as outcomes:
            first, second = [outcome async for outcome in outcomes]
    assert first.unwrap() == "ok"
    assert isinstance(second, Failure)
    assert isinstance(second.error, TaskTimeout)
    assert time.perf_counter() - begun < 10


@pytest.mark.stress
async def test_a_cancellation_of_a_foreign_task_costs_one_input_and_no_neighbour(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        return  # there nobody can raise one
    may_go = anyio.Event()

    async def execute(x: str) -> str:
        if x == "good":
            await may_go.wait()
            return x
        task = asyncio.ensure_future(asyncio.sleep(60))
        await anyio.lowlevel.checkpoint()
        task.cancel()
        await task
        return x

    results: list[str] = []

    async def good() -> None:
        results.append(await pool.execute("good"))

    async with WorkPool(lambda: execute, max_size=1, concurrency=2) as pool, anyio.create_task_group() as group:
        group.start_soon(good)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(TaskAborted):
            await pool.execute("bad")
        may_go.set()
    assert results == ["good"]


async def test_a_cancellation_of_a_foreign_task_is_the_error_of_the_source(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        return

    async def source() -> AsyncIterator[int]:
        yield 1
        task = asyncio.ensure_future(asyncio.sleep(60))
        await anyio.lowlevel.checkpoint()
        task.cancel()
        await task

    async def work(x: int) -> int:
        return x

    async with WorkPool(lambda: work) as pool:
        with pytest.raises(RuntimeError, match="the source raised a cancellation"):
            await pool.process(source())
        assert await pool.execute(2) == 2


@pytest.mark.stress
async def test_an_exit_while_it_is_cut_is_the_end_of_the_input_alone() -> None:
    async def execute(x: str) -> str:
        if x == "ok":
            return x
        try:
            await anyio.sleep_forever()
        finally:
            raise SystemExit(3)

    async with WorkPool(lambda: execute, max_size=1, execute_timeout=0.05) as pool:
        with pytest.raises(TaskTimeout):
            await pool.execute("hang")
        assert await pool.execute("ok") == "ok"


@pytest.mark.stress
async def test_what_a_worker_did_before_it_was_cut_is_counted() -> None:
    tasks: list[int] = []

    async def execute(x: int) -> int:
        if x == 5:
            await anyio.sleep_forever()
        return x

    async with WorkPool(lambda: execute, max_size=1, execute_timeout=0.05) as pool:
        pool.listen(lambda event: tasks.append(event.worker.tasks) if isinstance(event, WorkerStopped) else None)
        summary = await pool.process(range(6), on_failure=lambda _: None)
    assert (summary.succeeded, summary.failed) == (5, 1)
    assert tasks == [5]


@pytest.mark.parametrize("where", ["source", "init"])
async def test_a_shutdown_from_a_part_of_the_pool_does_not_wait_for_itself(where: str) -> None:
    class W:
        async def init(self) -> None:
            if where == "init":
                await pool.shutdown()

        async def execute(self, x: int) -> int:
            return x

    async def source() -> AsyncIterator[int]:
        yield 1
        if where == "source":
            await pool.shutdown()
        yield 2

    begun = time.perf_counter()
    async with WorkPool(W, max_size=1, destroy_timeout=20) as pool:
        await pool.process(source())
    assert time.perf_counter() - begun < 10
