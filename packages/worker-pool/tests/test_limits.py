"""Timeouts, cancellation and retries of one input."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from worker_pool import Failure, Retry, Success, TaskTimeout, WorkFailed, WorkPool
from worker_pool.testing import Die, FakeWorker, FakeWorkers, Hang, WorkerDied

pytestmark = pytest.mark.anyio


@pytest.mark.fault(28)
async def test_an_input_that_takes_too_long_fails_and_costs_its_worker() -> None:
    workers = FakeWorkers([1, Hang, 3])
    async with WorkPool(workers, max_size=1, execute_timeout=0.03) as pool, pool.stream("abc") as outcomes:
        seen = [outcome async for outcome in outcomes]
    assert [type(outcome).__name__ for outcome in seen] == ["Success", "Failure", "Success"]
    assert isinstance(seen[1], Failure)
    assert isinstance(seen[1].error, TaskTimeout)
    assert isinstance(seen[1].error, TimeoutError)
    assert 0.02 < seen[1].duration < 2
    assert [worker.inputs for worker in workers.made] == [["a", "b"], ["c"]]


async def test_the_time_counts_from_the_start_of_execution_not_from_the_call() -> None:
    async def execute(x: int) -> int:
        await anyio.sleep(0.04)
        return x

    async with WorkPool(lambda: execute, max_size=1, execute_timeout=0.2) as pool, anyio.create_task_group() as group:
        for i in range(8):
            group.start_soon(pool.execute, i)
    assert pool.statistics().succeeded == 8


async def test_every_second_input_times_out_and_the_pool_survives() -> None:
    workers = FakeWorkers([1, Hang] * 5)
    async with WorkPool(workers, max_size=2, execute_timeout=0.02) as pool:
        with pytest.raises(WorkFailed) as caught:
            await pool.process(range(10))
    assert caught.value.summary.succeeded == caught.value.summary.failed == 5


async def test_an_idle_pool_with_a_timeout_times_nothing_out() -> None:
    async with WorkPool(FakeWorkers(), max_size=1, execute_timeout=0.01) as pool:
        for i in range(3):
            assert await pool.execute(i) == i
            await anyio.sleep(0.03)
        assert pool.statistics().stopped == 0


async def test_a_worker_may_survive_what_was_cut_short() -> None:
    class Hardy(FakeWorker):
        survives_cancel = True

    worker = Hardy([Hang, 2, Hang, 4])
    async with WorkPool(lambda: worker, max_size=1, execute_timeout=0.5) as pool:
        with pytest.raises(TaskTimeout):
            await pool.execute("a")
        assert await pool.execute("b") == 2
        async with anyio.create_task_group() as group:
            group.start_soon(pool.execute, "c")
            while worker.calls.count("execute") < 3:
                await checkpoint()
            group.cancel_scope.cancel()
        assert await pool.execute("d") == 4
        assert pool.statistics().started == 1


class Resettable:
    """Notes in which state it executes what."""

    def __init__(self, **attributes: Any) -> None:
        self.active = self.is_clean = self.stays_active = True
        self.seen: list[tuple[str, bool]] = []
        self.__dict__.update(attributes)

    async def execute(self, x: str) -> str:
        self.seen.append((x, self.is_clean))
        self.is_clean = False
        if x == "slow":
            try:
                await anyio.sleep_forever()
            finally:
                self.active = self.stays_active
        elif x == "late":  # its result comes in the moment after its limit: it is one
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
        return x

    async def release(self) -> None:
        self.is_clean = True


@pytest.mark.fault(28)
async def test_after_what_was_cut_short_the_worker_is_released_before_the_next() -> None:
    made = [Resettable(survives_cancel=True)]
    async with WorkPool(lambda: made[0], max_size=1, execute_timeout=0.05) as pool:
        with pytest.raises(TaskTimeout):
            await pool.execute("slow")
        assert await pool.execute("next") == "next"
        assert pool.statistics().started == 1
    assert made[0].seen == [("slow", True), ("next", True)]


@pytest.mark.fault(28)
async def test_a_worker_that_ended_with_what_was_cut_short_gets_nothing_more() -> None:
    made: list[Resettable] = []

    def make() -> Resettable:
        made.append(Resettable(survives_cancel=True, stays_active=False))
        return made[-1]

    async with WorkPool(make, max_size=1, execute_timeout=0.05) as pool:
        with pytest.raises(TaskTimeout):
            await pool.execute("slow")
        assert await pool.execute("next") == "next"
    assert [worker.seen for worker in made] == [[("slow", True)], [("next", True)]]


@pytest.mark.fault(33)
async def test_a_result_in_the_moment_of_its_timeout_leaves_a_worker_that_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker_pool._lane.MOMENT", 5)  # however busy the machine
    worker = Resettable()
    async with WorkPool(lambda: worker, max_size=1, execute_timeout=0.05) as pool:
        assert await pool.execute("late") == "late"
        assert await pool.execute("next") == "next"
        assert pool.statistics().started == 1
    assert worker.seen == [("late", True), ("next", True)]


async def test_the_neighbours_of_a_timed_out_input_finish_first() -> None:
    go = anyio.Event()
    workers = FakeWorkers([Hang(go), Hang, Hang(go)])
    async with WorkPool(workers, max_size=1, concurrency=3, execute_timeout=0.1) as pool:
        async with pool.stream("abc") as outcomes, anyio.create_task_group() as group:

            async def release() -> None:
                await anyio.sleep(0.05)
                go.set()

            group.start_soon(release)
            seen = {outcome.input: type(outcome).__name__ async for outcome in outcomes}
        assert seen == {"a": "Success", "b": "Failure", "c": "Success"}
        assert await pool.execute("d") == "d"
    assert [worker.inputs for worker in workers.made] == [["a", "b", "c"], ["d"]]


async def test_neighbours_go_on_while_the_cut_worker_takes_nothing_new() -> None:
    go = anyio.Event()
    workers = FakeWorkers([Hang(go), Hang])
    async with WorkPool(workers, max_size=2, concurrency=2) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.execute, "neighbour")
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(pool.execute, "cut")
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert await pool.execute("next") == "next"
        assert [worker.inputs for worker in workers.made] == [["neighbour", "cut"], ["next"]]
        go.set()


@pytest.mark.stress
@pytest.mark.fault(33)
async def test_a_timeout_in_the_instant_of_the_result_gives_one_outcome() -> None:
    """The execute ends at once when its time is over: by chance before or after the watchdog has looked."""

    async def execute(x: float) -> float:
        await anyio.sleep(x)
        return x

    async with WorkPool(lambda: execute, max_size=4, execute_timeout=0.01) as pool:
        async with pool.stream([0.01] * 60) as outcomes:
            seen = [outcome async for outcome in outcomes]
        assert len(seen) == 60
        assert all(isinstance(outcome.error, TaskTimeout) for outcome in seen if isinstance(outcome, Failure))
        async with pool.stream([0.0] * 100) as outcomes:  # on a busy machine some of these take longer too
            assert 0.0 in [outcome.result async for outcome in outcomes if isinstance(outcome, Success)]


async def test_an_execute_that_resists_its_timeout_still_ends_in_a_timeout() -> None:
    async def stubborn(x: int) -> int:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.02)

    async with WorkPool(lambda: stubborn, max_size=1, execute_timeout=0.01) as pool:
        with pytest.raises(TaskTimeout):
            await pool.execute(1)


async def test_an_execute_that_raises_while_it_is_cut_is_a_timeout_all_the_same() -> None:
    async def rude(x: int) -> int:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("rude")

    async with WorkPool(lambda: rude, max_size=1, execute_timeout=0.01) as pool:
        with pytest.raises(TaskTimeout):
            await pool.execute(1)


async def test_cancelling_a_waiting_call_costs_no_worker() -> None:
    go = anyio.Event()
    workers = FakeWorkers([Hang(go)])
    async with WorkPool(workers, max_size=1) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.execute, "a")
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(pool.execute, "never")
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        go.set()
        assert await pool.execute("c") == "c"
    assert [worker.inputs for worker in workers.made] == [["a", "c"]]


# --- retries


@pytest.mark.fault(15)
async def test_without_retry_nothing_runs_twice() -> None:
    workers = FakeWorkers([Die])
    async with WorkPool(workers, max_size=1) as pool:
        with pytest.raises(WorkerDied):
            await pool.execute("a")
    assert workers.inputs == ["a"]


async def test_retry_runs_again_until_it_succeeds_and_counts() -> None:
    workers = FakeWorkers([ValueError(), Die, "third"])
    async with (
        WorkPool(workers, max_size=1, retry=Retry(attempts=3, backoff=0.001)) as pool,
        pool.stream("a") as outcomes,
    ):
        outcome = await anext(outcomes)
        assert (outcome.attempts, outcome.worker) == (3, 2)
        assert pool.statistics().retried == 2
        assert outcomes.summary.succeeded == 1


@pytest.mark.fault(34)
async def test_a_poison_input_fails_after_its_attempts_and_the_pool_is_well() -> None:
    workers = FakeWorkers([Die, Die, Die])
    async with WorkPool(workers, max_size=1, retry=Retry(attempts=3, backoff=0.001)) as pool:
        with pytest.raises(WorkFailed) as caught:
            await pool.process("p")
        assert caught.value.failures[0].attempts == 3
        assert workers.inputs == ["p", "p", "p"]
        assert await pool.execute("b") == "b"


async def test_retry_only_on_what_it_is_for() -> None:
    retry = Retry(attempts=5, backoff=0, on=KeyError)
    async with WorkPool(FakeWorkers([KeyError(), ValueError()]), max_size=1, retry=retry) as pool:
        with pytest.raises(ValueError):  # noqa: PT011 - the class is the point
            await pool.execute("a")
        assert pool.statistics().retried == 1
    predicate = Retry(attempts=5, backoff=0, on=lambda error: "again" in str(error))
    async with WorkPool(FakeWorkers([OSError("again"), OSError("no")]), max_size=1, retry=predicate) as pool:
        with pytest.raises(OSError, match="no"):
            await pool.execute("a")


async def test_others_run_while_one_waits_for_its_retry() -> None:
    workers = FakeWorkers([ValueError(), 2, 3])
    async with WorkPool(workers, max_size=1, retry=Retry(attempts=2, backoff=0.05, jitter=0)) as pool:
        began = time.perf_counter()
        await pool.process("abc")
        assert time.perf_counter() - began >= 0.05
    assert workers.inputs == ["a", "b", "c", "a"]


async def test_inputs_that_wait_for_a_retry_bound_what_is_taken() -> None:
    taken = 0

    def source() -> Any:
        nonlocal taken
        for taken in range(1, 1000):
            yield taken

    def fail(_: object) -> None:
        raise ValueError

    retry = Retry(attempts=2, backoff=30, jitter=0)
    async with WorkPool(FakeWorkers([fail] * 1000), max_size=2, retry=retry) as pool:
        with anyio.move_on_after(0.1):
            await pool.process(source)
        assert taken == 4
        assert pool.statistics().unfinished == 4


async def test_the_delay_grows_is_bounded_and_jittered() -> None:
    retry = Retry(backoff=1, factor=2, max_backoff=5, jitter=0)
    assert [retry.delay(n) for n in (1, 2, 3, 4, 10_000)] == [1, 2, 4, 5, 5]
    delays = [Retry(backoff=1, jitter=0.5).delay(1) for _ in range(100)]
    assert all(0.5 <= delay <= 1 for delay in delays)
    assert len(set(delays)) > 90
    for bad in ({"attempts": 0}, {"backoff": -1}, {"jitter": 2}, {"factor": 0.5}):
        with pytest.raises(ValueError, match="must"):
            Retry(**bad)  # type: ignore[arg-type]
    for of_no_type in ({"attempts": "3"}, {"on": "ValueError"}, {"on": (KeyError, "x")}, {"on": int}, {"on": ()}):
        with pytest.raises(TypeError, match="must"):
            Retry(**of_no_type)  # type: ignore[arg-type]


async def test_a_predicate_that_turns_out_to_be_async_has_not_said_that_an_input_is_to_run_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check(_: Exception) -> bool:
        return True

    retry: Any = Retry(attempts=3, backoff=0, on=lambda error: check(error))  # type: ignore[arg-type,return-value]
    async with WorkPool(FakeWorkers([OSError("first"), 2]), max_size=1, retry=retry) as pool:
        with pytest.raises(OSError, match="first"):
            await pool.execute("a")
        assert pool.statistics().retried == 0
    assert "on must not be async" in caplog.text
