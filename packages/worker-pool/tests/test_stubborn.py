"""What ignores its cancellation: it costs its worker, and neither its caller nor the pool waits for it for ever."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest
from cutting import cut

from worker_pool import TaskTimeout, WorkPool

pytestmark = pytest.mark.anyio


class Stubborn:
    """Takes its time whatever happens: an input is the event it waits for, or how many seconds."""

    made = 0

    def __init__(self) -> None:
        Stubborn.made += 1

    async def execute(self, what: anyio.Event | float) -> str:
        with anyio.CancelScope(shield=True):
            await (what.wait() if isinstance(what, anyio.Event) else anyio.sleep(what))
        return "done"


@pytest.fixture(autouse=True)
def none_made() -> None:
    Stubborn.made = 0


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if (record.name, record.levelname) == ("worker_pool", "WARNING")
    ]


async def test_a_result_that_comes_after_the_limit_is_a_timeout_and_costs_the_worker() -> None:
    async with WorkPool(Stubborn, max_size=1, execute_timeout=0.05) as pool:
        with pytest.raises(TaskTimeout):
            await pool.execute(0.3)
        assert await pool.execute(0) == "done"
        assert Stubborn.made == 2
        assert (pool.statistics().succeeded, pool.statistics().failed) == (1, 1)


async def test_a_result_that_nobody_wants_any_more_costs_the_worker_too() -> None:
    async with WorkPool(Stubborn, max_size=1) as pool:
        await cut(pool.execute, 0.3)
        assert await pool.execute(0) == "done"
        assert Stubborn.made == 2
        assert (pool.statistics().succeeded, pool.statistics().unfinished) == (1, 1)


async def test_an_input_that_never_lets_go_is_given_up_and_so_is_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    never = anyio.Event()
    async with WorkPool(Stubborn, max_size=1, execute_timeout=0.05, destroy_timeout=0.1) as pool:
        with anyio.fail_after(5):
            with pytest.raises(TaskTimeout):
                await pool.execute(never)
            assert await pool.execute(0) == "done"
        assert Stubborn.made == 2
        assert warnings_of(caplog) == ["worker 1 did not end within 0.1 s"]
        never.set()
    assert (pool.statistics().succeeded, pool.statistics().failed, pool.statistics().stopped) == (1, 1, 2)
    assert warnings_of(caplog) == ["worker 1 did not end within 0.1 s"]  # told once


async def test_neighbours_of_an_input_that_was_given_up_finish() -> None:
    never, later = anyio.Event(), anyio.Event()
    async with WorkPool(Stubborn, max_size=1, concurrency=2, execute_timeout=0.5, destroy_timeout=0.1) as pool:
        async with pool.stream([never]) as outcomes, anyio.create_task_group() as group:
            results: list[str] = []

            async def neighbour() -> None:
                results.append(await pool.execute(later))

            await anyio.sleep(0.3)  # so that its own limit is later than that of the other
            group.start_soon(neighbour)
            with anyio.fail_after(5):
                (outcome,) = [outcome async for outcome in outcomes]
            with pytest.raises(TaskTimeout):
                outcome.unwrap()
            assert Stubborn.made == 1
            later.set()
        assert results == ["done"]
        with anyio.fail_after(5):
            assert await pool.execute(0) == "done"
        assert Stubborn.made == 2
        never.set()


@pytest.mark.parametrize("when", ["init", "destroy"])
async def test_a_worker_that_cannot_be_ended_gives_its_slot_up(when: str, caplog: pytest.LogCaptureFixture) -> None:
    never = anyio.Event()
    made: list[Stuck] = []

    class Stuck:
        def __init__(self) -> None:
            made.append(self)

        async def init(self) -> None:
            await self.be_stuck("init")

        async def execute(self, x: int) -> int:
            return x

        async def destroy(self) -> None:
            await self.be_stuck("destroy")

        async def be_stuck(self, here: str) -> None:
            if here == when and self is made[0]:
                with anyio.CancelScope(shield=True):
                    await never.wait()

    async with WorkPool(
        Stuck, max_size=1, retire=lambda worker: worker.tasks > 0, init_timeout=0.1, destroy_timeout=0.1
    ) as pool:
        with anyio.fail_after(5):
            for number in range(3):
                assert await pool.execute(number) == number
        never.set()
    told = {
        "init": "a worker could not be started (1 in a row): StartTimeout: the worker was not ready after 0.1 s",
        "destroy": "worker 1 did not end within 0.1 s",
    }
    assert warnings_of(caplog) == [told[when]]


async def test_a_release_that_hangs_and_swallows_its_cancellation_costs_the_worker() -> None:
    class Worker(Stubborn):
        async def release(self) -> None:
            with suppress(BaseException):
                await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with WorkPool(Worker, max_size=1, destroy_timeout=0.05) as pool:
            for _ in range(2):
                assert await pool.execute(0) == "done"
            await pool.shutdown()
    assert Stubborn.made == 2
