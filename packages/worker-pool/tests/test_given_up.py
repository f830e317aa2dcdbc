"""What becomes of a worker with `submit`, and of the inputs that it has, after one of them was given up."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import anyio
import pytest
from cutting import cut

from worker_pool import Settle, Success, TaskTimeout, WorkerLost, WorkFailed, WorkPool

pytestmark = [pytest.mark.anyio, pytest.mark.fault(28)]


class Halting:
    """Settles at once; from "halt" on it holds what it gets, until `go_on`."""

    batch = 8

    def __init__(self, **attributes: Any) -> None:
        self.held: list[tuple[Settle, int, Any]] = []
        self.inputs: list[Any] = []
        self.destroyed = False
        self.__dict__.update(attributes)

    async def execute(self, x: Any) -> Any:
        raise AssertionError("a pool uses submit")

    def submit(self, inputs: list[Any], settle: Settle) -> None:
        for i, x in enumerate(inputs):
            self.inputs.append(x)
            if x == "halt" or self.held:
                self.held.append((settle, i, x))
            else:
                settle(i, Success(x, x))

    async def destroy(self) -> None:
        self.destroyed = True

    def go_on(self) -> None:
        held, self.held = self.held, []
        for settle, i, x in held:
            settle(i, Success(x, x))


class Made(list[Halting]):
    """Makes them, and remembers."""

    def __init__(self, **attributes: Any) -> None:
        self.attributes = attributes

    def __call__(self) -> Halting:
        self.append(Halting(**self.attributes))
        return self[-1]


async def halted_with_one_behind(
    pool: WorkPool[Any, Any], made: Made, group: Any
) -> tuple[anyio.CancelScope, list[Any]]:
    """Have it hold "halt", and "behind" that; return what cancels the latter, and what comes of the former."""
    await pool.process(range(1000))  # so quick that it gets a list while it has another
    scope, outcomes = anyio.CancelScope(), []

    async def ask(scope: anyio.CancelScope, x: str) -> None:
        with scope:
            try:
                outcomes.append(await pool.execute(x))
            except Exception as error:
                outcomes.append(error)

    group.start_soon(ask, anyio.CancelScope(), "halt")
    await anyio.wait_all_tasks_blocked()
    group.start_soon(ask, scope, "behind")
    await anyio.wait_all_tasks_blocked()
    assert made[0].inputs[-2:] == ["halt", "behind"]
    return scope, outcomes


@pytest.mark.parametrize("overlaps", [False, True])
async def test_a_worker_that_survives_and_never_answers_is_replaced_in_the_end(overlaps: bool) -> None:
    made = Made(survives_cancel=True, overlaps=overlaps, batch=None)
    with anyio.fail_after(10):
        async with WorkPool(made, max_size=1, destroy_timeout=0.05) as pool:
            await cut(pool.execute, "halt")
            assert await pool.execute("next") == "next"
    assert [worker.inputs for worker in made] == [["halt"], ["next"]]
    assert made[0].destroyed


async def test_it_may_take_its_time_again_for_each() -> None:
    made = Made(survives_cancel=True)
    async with WorkPool(made, max_size=1, destroy_timeout=60) as pool:
        for _ in range(3):
            await cut(pool.execute, "halt")
            made[0].go_on()
            assert await pool.execute("next") == "next"
        assert pool.statistics().dropped == 3
    assert len(made) == 1


@pytest.mark.parametrize("survives_cancel", [False, True])
async def test_a_limit_holds_also_after_one_behind_was_cancelled(survives_cancel: bool) -> None:
    made = Made(survives_cancel=survives_cancel)
    options: Any = {"concurrency": 8, "execute_timeout": 1, "destroy_timeout": 0.1}
    with anyio.fail_after(10):
        async with WorkPool(made, max_size=1, **options) as pool:
            async with anyio.create_task_group() as group:
                behind, outcomes = await halted_with_one_behind(pool, made, group)
                behind.cancel()
            assert isinstance(outcomes[0], TaskTimeout)
            with suppress(WorkerLost):  # where it survives, it gets what it then holds up, until its time is over
                await pool.execute("next")
            assert await pool.execute("next") == "next"
            assert len(made) == 2


async def test_one_behind_that_was_cancelled_costs_no_worker() -> None:
    made = Made(survives_cancel=True)
    async with WorkPool(made, max_size=1, concurrency=8, destroy_timeout=0.02) as pool:
        async with anyio.create_task_group() as group:
            behind, outcomes = await halted_with_one_behind(pool, made, group)
            behind.cancel()
            await anyio.sleep(0.1)  # some times as long as one may be given up
            made[0].go_on()
        assert outcomes == ["halt"]
        assert await pool.execute("next") == "next"
    assert len(made) == 1


async def test_a_worker_that_gives_back_but_does_not_is_ended() -> None:
    made = Made(gives_back=True)
    inputs = [*range(500), "halt", *range(500)]
    with anyio.fail_after(20):
        async with WorkPool(made, max_size=1, execute_timeout=0.1, destroy_timeout=0.1) as pool:
            with pytest.raises(WorkFailed) as caught:
                await pool.process(inputs)
    summary = caught.value.summary
    assert summary.succeeded + summary.failed == len(inputs)
    assert summary.failed < 100
    assert any(isinstance(error, TaskTimeout) for error in caught.value.exceptions)


@pytest.mark.fault(13)
def test_hundreds_of_idle_workers_are_woken_without_recursion(anyio_backend_name: str) -> None:
    async def main() -> None:
        async with WorkPool(Halting, max_size=500, min_size=500, max_starting=500) as pool:
            while pool.statistics().alive < 500:
                await anyio.sleep(0.001)
            await anyio.wait_all_tasks_blocked()
            assert (await pool.process(range(2000))).succeeded == 2000

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(500)
    try:
        anyio.run(main, backend=anyio_backend_name)
    finally:
        sys.setrecursionlimit(limit)
