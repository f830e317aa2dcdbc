"""A delivery that is suspected of killing its worker runs beside nothing; and inputs that wait for their own pool."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from worker_pool import PoolBroken, PoolDeadlock, WorkPool

from .memory_acks import MemoryAcks

pytestmark = pytest.mark.anyio


def suspect(value: str) -> MemoryAcks:
    source = MemoryAcks([value])
    source.suspects.add(value)
    return source


@pytest.mark.stress
async def test_when_a_suspect_has_ended_all_workers_go_on() -> None:
    running = most = 0

    async def execute(x: object) -> object:
        nonlocal running, most
        running += 1
        if x == "suspect":
            assert running == 1
        else:
            most = max(most, running)
            await anyio.wait_all_tasks_blocked()
        running -= 1
        return x

    source = suspect("suspect")
    with anyio.fail_after(10):
        async with WorkPool(lambda: execute, max_size=4) as pool, anyio.create_task_group() as group:
            group.start_soon(pool.process, source)
            while source.counts() != {"ack": 1}:
                await anyio.lowlevel.checkpoint()
            await pool.process(range(40))
            pool.close(0)
    assert most == 4


@pytest.mark.stress
async def test_a_suspect_that_costs_its_worker_leaves_the_pool_usable() -> None:
    class Worker:
        active = True

        async def execute(self, x: object) -> object:
            if x == "suspect":
                began.set()
                await may_die.wait()
                self.active = False  # its process died
                raise ValueError(x)
            return x

    began, may_die, source = anyio.Event(), anyio.Event(), suspect("suspect")
    source.max_attempts = 1
    with anyio.fail_after(5):
        async with WorkPool(Worker, max_size=2, min_size=2) as pool, anyio.create_task_group() as group:
            group.start_soon(_process, pool, source)
            await began.wait()
            group.start_soon(pool.process, range(4))
            for _ in range(10):  # the source polls, so that never all tasks are blocked
                await anyio.lowlevel.checkpoint()
            source.close()
            may_die.set()
            while pool.statistics().succeeded < 4:
                await anyio.lowlevel.checkpoint()
            for _ in range(3):  # idle workers are woken again and again
                await anyio.wait_all_tasks_blocked()
                assert await pool.execute("x") == "x"
            pool.close(0)


async def test_a_suspect_that_waits_for_its_pool_is_refused() -> None:
    async def execute(x: str) -> str:
        return await pool.execute("inner") if x == "suspect" else x

    async with WorkPool(lambda: execute, max_size=4) as pool, anyio.create_task_group() as group:
        source = suspect("suspect")
        source.max_attempts = 1
        group.start_soon(_process, pool, source)
        with anyio.fail_after(10):
            while not source.reasons:
                await anyio.lowlevel.checkpoint()
        assert "PoolDeadlock('an input that must run alone waits" in source.reasons[0]
        pool.close(0)


async def _process(pool: WorkPool[Any, Any], source: MemoryAcks) -> None:
    await pool.process(source, on_failure=lambda _: None)


@pytest.mark.stress
async def test_a_suspect_does_not_wait_for_one_that_only_waits_itself() -> None:
    may_ask = anyio.Event()

    async def execute(x: str) -> str:
        if x == "outer":
            await may_ask.wait()
            return await pool.execute("inner")
        return x

    source = suspect("suspect")
    results: list[str] = []

    async def outer() -> None:
        results.append(await pool.execute("outer"))

    with anyio.fail_after(10):
        async with WorkPool(lambda: execute, max_size=4) as pool, anyio.create_task_group() as group:
            group.start_soon(outer)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(pool.process, source)
            await anyio.wait_all_tasks_blocked()
            assert source.counts() == {}, "it waits for the one that runs"
            may_ask.set()
            while source.counts() != {"ack": 1} or not results:
                await anyio.lowlevel.checkpoint()
            pool.close(0)
    assert results == ["inner"]


@pytest.mark.stress
async def test_an_input_that_waits_for_a_worker_that_can_never_come_is_told() -> None:
    starts = 0

    def make() -> Any:
        nonlocal starts
        starts += 1
        if starts > 1:
            raise OSError("no more of them")
        return execute

    async def execute(x: str) -> str:
        return await pool.execute("inner") if x == "outer" else x

    with anyio.fail_after(10):
        async with WorkPool(make, max_size=2, start_backoff=0.001) as pool:
            with pytest.raises(PoolBroken, match="no more of them"):
                await pool.execute("outer")


@pytest.mark.stress
async def test_a_task_that_outlived_its_input_holds_no_worker() -> None:
    started = anyio.Event()
    results: list[str] = []

    async def follow() -> None:
        await started.wait()
        results.append(await pool.execute("second"))

    async def execute(x: str) -> str:
        if x == "first":
            group.start_soon(follow)
        return x

    with anyio.fail_after(10):
        async with WorkPool(lambda: execute, max_size=1) as pool, anyio.create_task_group() as group:
            await pool.execute("first")
            started.set()
    assert results == ["second"]


async def test_a_pool_of_one_still_refuses_to_wait_for_itself() -> None:
    async def execute(x: str) -> str:
        return await pool.execute("inner")

    async with WorkPool(lambda: execute, max_size=1) as pool:
        with pytest.raises(PoolDeadlock, match="the only slot of the pool is held by a task that waits"):
            await pool.execute("outer")


class Nest:
    """Its "outer" inputs wait for "inner" ones of the same pool, once they may."""

    def __init__(self) -> None:
        self.may_ask = anyio.Event()
        self.go = anyio.Event()
        self.ended: list[str] = []

    async def execute(self, x: str) -> str:
        if x == "outer":
            await self.may_ask.wait()
            return await self.pool.execute("inner")
        if x == "slow":
            await self.go.wait()
        return x

    async def call(self, x: str) -> None:
        try:
            self.ended.append(await self.pool.execute(x))
        except PoolDeadlock as error:
            self.ended.append("refused" if "a worker that must be replaced is held" in str(error) else str(error))

    def open(self, concurrency: int, **options: Any) -> WorkPool[str, str]:
        self.pool: WorkPool[str, str] = WorkPool(
            lambda: self.execute, max_size=1, concurrency=concurrency, grace=0, **options
        )
        return self.pool


@pytest.mark.stress
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_input_that_waits_for_its_own_worker_is_told_when_that_must_be_replaced(when: str) -> None:
    nest = Nest()
    with anyio.fail_after(5):
        async with nest.open(2) as pool, anyio.create_task_group() as group:
            group.start_soon(nest.call, "outer")
            await anyio.wait_all_tasks_blocked()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as neighbour:
                    neighbour.start_soon(pool.execute, "slow")  # or "inner" would run beside
                    await anyio.wait_all_tasks_blocked()
                    if when == "after":
                        nest.may_ask.set()
                        await anyio.wait_all_tasks_blocked()
                    scope.cancel()  # the worker is in doubt then
            nest.may_ask.set()
            while nest.ended != ["refused"]:
                await anyio.lowlevel.checkpoint()
            assert await pool.execute("inner") == "inner", "another worker came"


@pytest.mark.stress
async def test_one_after_the_other_is_refused_until_the_worker_can_be_replaced() -> None:
    nest = Nest()
    nest.may_ask.set()
    with anyio.fail_after(5):
        async with nest.open(4) as pool:
            async with anyio.create_task_group() as group:
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as neighbours:
                        neighbours.start_soon(pool.execute, "slow")
                        group.start_soon(nest.call, "slow")
                        await anyio.wait_all_tasks_blocked()
                        for _ in range(2):
                            group.start_soon(nest.call, "outer")
                        await anyio.wait_all_tasks_blocked()
                        scope.cancel()
                await anyio.wait_all_tasks_blocked()
                assert nest.ended == [], "one input still runs there, and may be what they wait for"
                nest.go.set()
            assert nest.ended == ["slow", "refused", "refused"]
            assert await pool.execute("inner") == "inner"


@pytest.mark.stress
async def test_a_worker_is_not_retired_while_an_input_waits_for_it() -> None:
    nest = Nest()
    retired = 0

    def retire(worker: object) -> bool:
        nonlocal retired
        retired += 1
        return True

    with anyio.fail_after(5):
        async with nest.open(2, retire=retire) as pool, anyio.create_task_group() as group:
            group.start_soon(nest.call, "outer")
            group.start_soon(nest.call, "slow")
            await anyio.wait_all_tasks_blocked()
            nest.may_ask.set()
            await anyio.wait_all_tasks_blocked()
            assert not retired
            nest.go.set()
            while len(nest.ended) < 2:
                await anyio.lowlevel.checkpoint()
            assert nest.ended == ["slow", "inner"]
            assert await pool.execute("inner") == "inner"
        assert retired
