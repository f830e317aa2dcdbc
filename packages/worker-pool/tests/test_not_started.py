"""What a worker says that it did not start runs on another, and never without end."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from worker_pool import WorkPool
from worker_pool.testing import Die, FakeWorker, FakeWorkers, WorkerDied

pytestmark = pytest.mark.anyio


class Ends(Exception):
    """What a worker raises that has come to its end and did not begin."""


class Deniable(FakeWorker):
    def not_started(self, error: Exception) -> bool:
        return isinstance(error, Ends)


@pytest.mark.fault(38)
@pytest.mark.parametrize("concurrency", [1, 2])
async def test_what_a_worker_did_not_start_runs_on_another_and_nobody_sees_the_error(concurrency: int) -> None:
    script: deque[Any] = deque([1, Ends(), 3, Ends(), 5])
    made: list[Deniable] = []

    def make() -> Deniable:
        made.append(Deniable(script))
        return made[-1]

    async with WorkPool(make, max_size=1, concurrency=concurrency) as pool:
        outcomes = [await pool.execute(x) for x in "abc"]
        assert outcomes == [1, 3, 5]
        assert (pool.statistics().failed, pool.statistics().retried) == (0, 0)
    assert [worker.inputs for worker in made] == [["a", "b"], ["b", "c"], ["c"]]


@pytest.mark.fault(6)
async def test_workers_that_start_nothing_are_not_made_for_ever() -> None:
    made: list[Deniable] = []

    def make() -> Deniable:
        made.append(Deniable([Ends()]))
        return made[-1]

    async with WorkPool(make, max_size=2, max_start_failures=3) as pool:
        for _ in range(2):
            with pytest.raises(Ends):
                await pool.execute("a")
    assert len(made) == 2 + 3 + 1  # all that may be here at once, and as many as starts may fail; then one each


async def test_one_that_works_in_between_makes_the_count_of_those_that_start_nothing_begin_anew() -> None:
    script: deque[Any] = deque([Ends(), 1, Die] * 3)
    async with WorkPool(lambda: Deniable(script), max_size=1, max_start_failures=1) as pool:
        for _ in range(3):
            assert await pool.execute("a") == 1
            with pytest.raises(WorkerDied):
                await pool.execute("b")


async def test_only_the_worker_itself_may_say_that_nothing_has_started() -> None:
    """What an input of one pool raises may come from another pool, after it has done something of its own."""
    inner = FakeWorkers([Ends()])
    runs: list[str] = []

    async with WorkPool(inner) as other:

        async def run(x: str) -> Any:
            runs.append(x)
            return await other.execute(x)

        async with WorkPool(lambda: run) as pool:
            with pytest.raises(Ends):
                await pool.execute("a")
    assert runs == ["a"]
