"""How many workers there are: min, max, idle_timeout, concurrency."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest

from worker_pool import PoolBroken, WorkPool
from worker_pool.testing import FakeWorker, FakeWorkers, Hang

pytestmark = pytest.mark.anyio


async def test_no_worker_without_work_unless_min_size_says_so() -> None:
    workers = FakeWorkers()
    async with WorkPool(workers, max_size=4):
        await anyio.wait_all_tasks_blocked()
        assert workers.made == []
    async with WorkPool(workers, min_size=2, max_size=4) as pool:
        await anyio.wait_all_tasks_blocked()
        assert len(workers.made) == pool.statistics().alive == 2


async def test_no_more_workers_than_inputs() -> None:
    workers = FakeWorkers()
    async with WorkPool(workers, max_size=8, max_starting=8) as pool:
        await pool.process("ab")
    assert len(workers.made) == 2


@pytest.mark.fault(98)
async def test_leaving_workers_count() -> None:
    """Alive + starting + leaving never exceeds max_size, however slowly they leave."""
    living = most = 0

    class Worker(FakeWorker):
        async def init(self) -> None:
            nonlocal living, most
            living += 1
            most = max(most, living)

        async def destroy(self) -> None:
            nonlocal living
            await anyio.sleep(0.002)
            living -= 1

    async with WorkPool(Worker, max_size=3, retire=lambda _: True) as pool:
        await pool.process(range(30))
        statistics = pool.statistics()
        assert statistics.alive + statistics.starting + statistics.leaving <= 3
    assert most <= 3
    assert living == 0


async def test_idle_workers_leave_down_to_min_size_and_new_work_brings_them_back() -> None:
    workers = FakeWorkers()
    async with WorkPool(workers, min_size=1, max_size=4, max_starting=4, idle_timeout=0.02) as pool:
        for _ in range(5):
            go = anyio.Event()
            workers.script.extend([Hang(go)] * 4)
            async with anyio.create_task_group() as group:
                group.start_soon(pool.process, range(4))
                while pool.statistics().running < 4:
                    await anyio.sleep(0.001)
                go.set()
            with anyio.fail_after(5):
                while pool.statistics().alive > 1:
                    await anyio.sleep(0.005)
            await anyio.sleep(0.05)
            assert pool.statistics().alive == 1
    assert len(workers.made) == 1 + 5 * 3


async def test_the_worker_that_was_used_last_is_used_next() -> None:
    """So that the others may expire."""
    workers = FakeWorkers()
    async with WorkPool(workers, min_size=3, max_size=3, max_starting=3) as pool:
        await anyio.wait_all_tasks_blocked()
        for i in range(10):
            await pool.execute(i)
            await anyio.wait_all_tasks_blocked()
    assert sorted(len(worker.inputs) for worker in workers.made) == [0, 0, 10]


async def test_a_lost_worker_is_replaced_up_to_min_size_without_work() -> None:
    workers = FakeWorkers()
    async with WorkPool(workers, min_size=2, max_size=2, retire=lambda _: True) as pool:
        await pool.execute("a")
        await anyio.wait_all_tasks_blocked()
        assert pool.statistics().alive == 2
        assert len(workers.made) == 3


async def test_concurrency_runs_several_inputs_on_one_worker() -> None:
    go = anyio.Event()
    workers = FakeWorkers([Hang(go)] * 9)
    async with WorkPool(workers, max_size=1, concurrency=3) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.process, range(9))
        await anyio.wait_all_tasks_blocked()
        assert pool.statistics().running == 3
        go.set()
    assert len(workers.made) == 1


async def test_waiters_are_served_first_come_first_served() -> None:
    order: list[int] = []
    go = anyio.Event()

    async def execute(x: int) -> None:
        await go.wait()
        order.append(x)

    async with WorkPool(lambda: execute, max_size=1) as pool, anyio.create_task_group() as group:
        for i in range(20):
            group.start_soon(pool.execute, i)
            await anyio.wait_all_tasks_blocked()
        go.set()
    assert order == list(range(20))


async def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(TypeError, match=r"^WorkPool\(\) got an unexpected keyword argument 'max_sice'$"):
        WorkPool(FakeWorker, max_sice=2)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "options",
    [
        {"max_size": 0},
        {"min_size": 5, "max_size": 4},
        {"min_size": -1},
        {"concurrency": 0},
        {"execute_timeout": 0},
        {"init_timeout": -1},
        {"destroy_timeout": float("inf")},
        {"idle_timeout": -1},
        {"grace": -1},
        {"max_starting": 0},
    ],
    ids=str,
)
async def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must|must be finite"):
        WorkPool(FakeWorker, **options)  # type: ignore[arg-type]


async def test_make_worker_must_be_a_function() -> None:
    with pytest.raises(TypeError, match="must be a function without arguments"):
        WorkPool(FakeWorker())  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "options",
    [
        {"max_size": "4"},
        {"concurrency": 1.5},
        {"min_size": None},
        {"execute_timeout": "5"},
        {"destroy_timeout": None},
        {"idle_timeout": "1"},
        {"retry": 3},
        {"retire": 5},
    ],
    ids=str,
)
async def test_options_of_another_type_are_refused_before_anything_runs(options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(TypeError, match=f"^{name} must be .*, got {re.escape(repr(value))}"):
        WorkPool(FakeWorker, **options)


async def test_a_function_of_an_input_is_not_one_that_makes_workers() -> None:
    async def fetch(url: str) -> str:
        return url

    with pytest.raises(TypeError, match=r"(?s)missing a required argument: 'url'.*WorkPool\(lambda: function\)"):
        WorkPool(fetch)  # type: ignore[call-overload]


@pytest.mark.parametrize("hook", ["init", "execute", "release"])
async def test_what_ought_to_be_async_and_is_not_is_named(hook: str) -> None:
    worker = FakeWorker()
    setattr(worker, hook, lambda *_: "at once")
    async with WorkPool(lambda: worker, max_size=1, max_start_failures=1) as pool:
        if hook == "release":
            await pool.execute(1)  # its input is done: only the worker is lost
        else:
            with pytest.raises((TypeError, PoolBroken), match=f"{hook} of a worker must be async.*'at once'"):
                await pool.execute(1)


async def test_a_blocking_function_is_no_worker_and_is_told_so() -> None:
    async with WorkPool(lambda: str.upper) as pool:  # type: ignore[arg-type,return-value]
        with pytest.raises(TypeError, match="execute of a worker must be async"):
            await pool.execute("a")
