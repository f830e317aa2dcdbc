"""What a pool shows: events, statistics, logs."""

from __future__ import annotations

import dataclasses
from typing import Any

import anyio
import pytest

from worker_pool import (
    Event,
    Failure,
    Retry,
    Success,
    TaskFinished,
    TaskStarted,
    WorkerStarted,
    WorkerStartFailed,
    WorkerStopped,
    WorkPool,
)
from worker_pool.testing import FakeWorkers, Hang

pytestmark = pytest.mark.anyio


async def test_the_life_of_workers_and_tasks_is_told_in_order() -> None:
    events: list[Event] = []
    workers = FakeWorkers([1, ValueError(), 3], starts=[OSError(), None])
    retry = Retry(attempts=2, backoff=0)
    async with WorkPool(workers, max_size=1, retry=retry, start_backoff=0) as pool:
        pool.listen(events.append)
        await pool.process("ab")
    names = [type(event).__name__ for event in events]
    assert names == [
        "WorkerStartFailed",
        "WorkerStarted",
        "TaskStarted",
        "TaskFinished",
        "TaskStarted",
        "TaskFinished",
        "TaskStarted",
        "TaskFinished",
        "WorkerStopped",
    ]
    failed, started, _, first, _, again, second_try, last, stopped = events
    assert isinstance(failed, WorkerStartFailed)
    assert failed.failures == 1
    assert isinstance(started, WorkerStarted)
    assert started.worker.id == 1
    assert started.took >= 0
    assert isinstance(first, TaskFinished)
    assert isinstance(first.outcome, Success)
    assert isinstance(again, TaskFinished)
    assert isinstance(again.outcome, Failure)
    assert again.again
    assert isinstance(second_try, TaskStarted)
    assert second_try.attempt == 2
    assert second_try.waited >= 0
    assert isinstance(last, TaskFinished)
    assert last.outcome.attempts == 2
    assert isinstance(stopped, WorkerStopped)
    assert (stopped.reason, stopped.error) == ("closed", None)
    assert stopped.worker.tasks == 3


async def test_any_number_may_listen_and_leave_and_one_that_raises_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first: list[Event] = []
    second: list[Event] = []

    def bad(event: Event) -> None:
        raise RuntimeError("listener")

    async with WorkPool(FakeWorkers(), max_size=1) as pool:
        pool.listen(bad)
        remove = pool.listen(first.append)
        pool.listen(second.append)
        await pool.execute(1)
        count = len(first)
        assert count == len(second) > 0
        remove()
        remove()
        await pool.execute(2)
        assert len(first) == count < len(second)
    assert "a listener raised" in caplog.text


async def test_statistics_are_a_frozen_snapshot_that_adds_up() -> None:
    go = anyio.Event()
    workers = FakeWorkers([1, ValueError(), Hang(go)])
    async with WorkPool(workers, max_size=1) as pool, anyio.create_task_group() as group:

        async def swallow() -> None:
            await pool.process("abc", on_failure=lambda _: None)

        group.start_soon(swallow)
        await anyio.wait_all_tasks_blocked()
        for _ in range(2):
            group.start_soon(pool.execute, "d")
        await anyio.wait_all_tasks_blocked()  # they wait from here on, however late they came
        await anyio.sleep(0.06)
        seen = pool.statistics()
        assert (seen.alive, seen.starting, seen.leaving) == (1, 0, 0)
        assert (seen.running, seen.waiting) == (1, 2)
        assert (seen.succeeded, seen.failed) == (1, 1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            seen.alive = 5  # type: ignore[misc]
        go.set()
    after = pool.statistics()
    assert (after.alive, after.stopped, after.started) == (0, 1, 1)
    assert (after.succeeded, after.failed, after.waiting) == (4, 1, 0)
    assert after.wait_time >= 0.05, "the two waited while the other ran"
    assert after.run_time >= 0.05


async def test_an_outcome_is_equal_to_its_like_and_shows_itself() -> None:
    assert Success(1, 2) == Success(1, 2)
    assert Success(1, 2) != Success(1, 3)
    assert repr(Success("a", "b")).startswith("Success(input='a', result='b', attempts=1")
    assert Failure("a", error := ValueError()).error is error
    outcomes: set[Any] = {Success(1, 2), Success(1, 2)}
    assert len(outcomes) == 1


async def test_a_listener_that_came_twice_leaves_once_each_time() -> None:
    events: list[object] = []
    async with WorkPool(FakeWorkers(), max_size=1) as pool:
        first, _ = pool.listen(events.append), pool.listen(events.append)
        first()
        first()
        await pool.execute(1)
    assert len([event for event in events if isinstance(event, TaskFinished)]) == 1


async def test_a_listener_that_came_twice_keeps_the_place_of_the_one_that_stays() -> None:
    heard: list[str] = []

    def both(_: Event) -> None:
        heard.append("both")

    async with WorkPool(FakeWorkers(), max_size=1) as pool:
        await pool.execute("a worker is there")
        pool.listen(both)
        pool.listen(lambda _: heard.append("between"))
        second = pool.listen(both)
        second()
        await pool.execute("b")
    assert heard[:2] == ["both", "between"]


async def test_a_run_that_nobody_wants_any_more_has_begun_and_has_no_outcome_to_tell() -> None:
    events: list[Event] = []
    async with WorkPool(FakeWorkers([Hang]), max_size=1) as pool:
        pool.listen(events.append)
        async with anyio.create_task_group() as group:
            group.start_soon(pool.execute, "a")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert pool.statistics().unfinished == 1
    assert sum(isinstance(event, TaskStarted) for event in events) == 1
    assert not any(isinstance(event, TaskFinished) for event in events)
