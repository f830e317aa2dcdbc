"""What can be a worker, how it is made, used, renewed and ended."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from worker_pool import PoolBroken, PoolClosed, StartTimeout, TaskAborted, WorkerInfo, WorkPool
from worker_pool.testing import Die, FakeWorker, FakeWorkers, Hang, WorkerDied, check_worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


class Doubler:
    async def execute(self, x: int) -> int:
        return x * 2


async def double(x: int) -> int:
    return x * 2


async def make_doubler() -> Doubler:
    await checkpoint()
    return Doubler()


@asynccontextmanager
async def doubler() -> AsyncGenerator[Doubler]:
    async with anyio.create_task_group() as group:  # scopes stay open while it lives
        group.start_soon(anyio.sleep_forever)
        yield Doubler()
        group.cancel_scope.cancel()


class Managed(Doubler):
    async def __aenter__(self) -> Managed:
        return self

    async def __aexit__(self, *_: object) -> None: ...


MAKERS: dict[str, Any] = {
    "a class": Doubler,
    "a function that makes one": lambda: Doubler(),
    "an async function that makes one": make_doubler,
    "a context manager": doubler,
    "a worker that is its own context manager": Managed,
    "a function as a worker": lambda: double,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_every_way_to_make_a_worker_works(make: Any) -> None:
    async with WorkPool[int, int](make, max_size=2) as pool:
        assert await pool.execute(21) == 42
        assert (await pool.process(range(5))).succeeded == 5
    await check_worker(make, [1, 2, 3])
    await check_worker(make)


async def test_what_is_no_worker_breaks_the_pool_with_a_sentence() -> None:
    async with WorkPool[int, int](lambda: 5, start_backoff=0) as pool:  # type: ignore[call-overload, arg-type, misc]
        with pytest.raises(PoolBroken) as caught:
            await pool.execute(1)
    assert isinstance(caught.value.__cause__, TypeError)
    assert "Expected: an object with `async execute(input)`" in str(caught.value.__cause__)


async def test_hooks_are_called_in_order_init_once_destroy_once() -> None:
    workers = FakeWorkers()
    async with WorkPool(workers, max_size=1) as pool:
        await pool.process("ab")
    assert workers.made[0].calls == ["init", "execute", "release", "execute", "release", "destroy"]


async def test_init_runs_once_per_worker_and_workers_are_reused() -> None:
    workers = FakeWorkers()
    async with WorkPool(workers, max_size=2) as pool:
        for _ in range(5):
            await pool.process(range(10))
    assert len(workers.made) <= 2
    assert all(worker.calls.count("init") == worker.calls.count("destroy") == 1 for worker in workers.made)


async def test_the_workers_task_is_one_for_its_whole_life() -> None:
    tasks: list[int] = []

    class Worker:
        def note(self) -> None:
            tasks.append(anyio.get_current_task().id)

        async def init(self) -> None:
            self.note()

        async def execute(self, x: int) -> None:
            self.note()

        async def release(self) -> None:
            self.note()

        async def destroy(self) -> None:
            self.note()

    async with WorkPool(Worker, max_size=1) as pool:
        await pool.process(range(3))
        await pool.execute(1)
    assert len(set(tasks)) == 1


@pytest.mark.fault(41)
@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_release_that_fails_costs_the_worker_not_the_result(how: str) -> None:
    class Worker(FakeWorker):
        async def release(self) -> None:
            if how == "raises":
                raise RuntimeError("release")
            await anyio.sleep_forever()

    made: list[Worker] = []

    def make() -> Worker:
        made.append(Worker(id=len(made)))
        return made[-1]

    async with WorkPool(make, max_size=1, destroy_timeout=0.05) as pool:
        assert await pool.execute("a") == "a"
        assert await pool.execute("b") == "b"
    assert [worker.inputs for worker in made] == [["a"], ["b"]]


@pytest.mark.fault(50)
@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_destroy_that_fails_delays_only_its_own_limit_and_no_other_worker(how: str) -> None:
    class Worker(FakeWorker):
        async def destroy(self) -> None:
            await super().destroy()
            if how == "raises":
                raise RuntimeError("destroy")
            await anyio.sleep_forever()

    made: list[Worker] = []

    def make() -> Worker:
        made.append(Worker())
        return made[-1]

    with anyio.fail_after(5):
        async with WorkPool(make, min_size=3, max_size=3, max_starting=3, destroy_timeout=0.05) as pool:
            await pool.execute("a")
    assert len(made) == 3
    assert all("destroy" in worker.calls for worker in made)


@pytest.mark.fault(32)
async def test_one_that_does_not_end_gives_its_place_up_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    class Endless(FakeWorker):
        async def destroy(self) -> None:
            await anyio.sleep_forever()

    script: deque[Any] = deque([Die, 2])
    with anyio.fail_after(5):
        async with WorkPool(lambda: Endless(script, id="endless"), max_size=1, destroy_timeout=0.05) as pool:
            with pytest.raises(WorkerDied):
                await pool.execute("a")
            assert await pool.execute("b") == 2
    assert caplog.messages == ["worker 'endless' did not end within 0.05 s"] * 2


async def test_a_worker_that_is_inactive_after_an_input_is_replaced() -> None:
    workers = FakeWorkers([1, Die, 3])
    async with WorkPool(workers, max_size=1) as pool:
        assert await pool.execute("a") == 1
        with pytest.raises(WorkerDied):
            await pool.execute("b")
        assert await pool.execute("c") == 3
    assert [worker.inputs for worker in workers.made] == [["a", "b"], ["c"]]


@pytest.mark.fault(38)
async def test_a_worker_that_died_while_idle_is_not_handed_out() -> None:
    workers = FakeWorkers()
    async with WorkPool(workers, max_size=1) as pool:
        await pool.execute("a")
        await anyio.wait_all_tasks_blocked()
        workers.made[0].active = False
        assert await pool.execute("b") == "b"
    assert [worker.inputs for worker in workers.made] == [["a"], ["b"]]


@pytest.mark.fault(35)
async def test_the_death_of_one_leaves_the_others_alone() -> None:
    go = anyio.Event()
    workers = FakeWorkers([Hang(go), Die, Hang(go)])
    async with WorkPool(workers, max_size=3, min_size=3, max_starting=3) as pool, pool.stream("abc") as outcomes:
        first = await anext(outcomes)
        assert first.input == "b"
        go.set()
        assert sorted([outcome.input async for outcome in outcomes]) == ["a", "c"]


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    "error",
    [SystemExit(3), GeneratorExit(), BaseExceptionGroup("of a task group", [SystemExit(3), ValueError()])],
    ids=repr,
)
async def test_what_ends_a_program_ends_only_the_input(error: BaseException) -> None:
    async with WorkPool(FakeWorkers([error, 2]), max_size=1) as pool:
        with pytest.raises(TaskAborted) as caught:
            await pool.execute("a")
        assert caught.value.__cause__ is error
        assert await pool.execute("b") == 2


async def test_an_execute_that_is_cancelled_from_within_fails_and_costs_its_worker() -> None:
    """asyncio only: there anybody can raise CancelledError; a wait for a cancelled future does."""
    error = anyio.get_cancelled_exc_class()
    if error.__module__.startswith("trio"):
        return

    def cancel(x: object) -> None:
        raise error

    workers = FakeWorkers([cancel, 2])
    async with WorkPool(workers, max_size=1) as pool:
        with pytest.raises(TaskAborted):
            await pool.execute("a")
        assert await pool.execute("b") == 2
    assert len(workers.made) == 2


async def test_a_worker_whose_own_task_crashes_fails_its_input_with_that_error() -> None:
    crash = anyio.Event()

    @asynccontextmanager
    async def make() -> AsyncGenerator[FakeWorker]:
        async def watch() -> None:
            await crash.wait()
            raise ConnectionError("lost")

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            yield FakeWorker([Hang])
            group.cancel_scope.cancel()

    async with WorkPool(make, max_size=1) as pool, anyio.create_task_group() as group:

        async def ask() -> None:
            with pytest.raises(ExceptionGroup) as caught:
                await pool.execute("a")
            assert caught.group_contains(ConnectionError)

        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        crash.set()


async def test_an_id_of_its_own_is_used() -> None:
    async with (
        WorkPool(lambda: FakeWorker(id="mine"), max_size=1) as pool,
        pool.stream("a") as outcomes,
    ):
        assert (await anext(outcomes)).worker == "mine"


# --- retiring


@pytest.mark.fault(42)
async def test_retire_replaces_a_worker_between_inputs_and_loses_none() -> None:
    workers = FakeWorkers()
    async with WorkPool(workers, max_size=2, retire=lambda worker: worker.tasks >= 2) as pool:
        assert (await pool.process(range(100))).succeeded == 100
    assert all(len(worker.inputs) <= 2 for worker in workers.made)
    assert sum(len(worker.inputs) for worker in workers.made) == 100


async def test_retire_may_look_at_age_and_memory() -> None:
    seen: list[WorkerInfo] = []

    class Heavy(FakeWorker):
        rss = 2**30

    def retire(worker: WorkerInfo) -> bool:
        seen.append(worker)
        return worker.rss >= 2**30 and worker.age >= 0

    made = 0

    def make() -> Heavy:
        nonlocal made
        made += 1
        return Heavy()

    async with WorkPool(make, max_size=1, retire=retire) as pool:
        await pool.process(range(3))
    assert made == 3
    assert all(info.run_time >= 0 for info in seen)


async def test_a_retire_that_raises_retires_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    workers = FakeWorkers()
    async with WorkPool(workers, max_size=1, retire=lambda worker: 1 // 0) as pool:
        await pool.process("ab")
    assert [len(worker.inputs) for worker in workers.made] == [1, 1]
    assert "retire raised" in caplog.text


# --- starting


@pytest.mark.fault(4)
async def test_an_init_that_hangs_is_ended_and_its_worker_destroyed() -> None:
    class Slow(FakeWorker):
        async def init(self) -> None:
            await super().init()
            await anyio.sleep_forever()

    made: list[Slow] = []

    def make() -> Slow:
        made.append(Slow())
        return made[-1]

    async with WorkPool(make, max_size=1, init_timeout=0.05, start_backoff=0) as pool:
        with pytest.raises(PoolBroken) as caught:
            await pool.execute("a")
    assert isinstance(caught.value.__cause__, StartTimeout)
    assert [worker.calls for worker in made] == [["init", "destroy"]] * 3


@pytest.mark.fault(4)
async def test_a_context_manager_that_hangs_while_entered_keeps_its_scopes_in_order() -> None:
    @asynccontextmanager
    async def make() -> AsyncGenerator[FakeWorker]:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            await anyio.sleep_forever()
            yield FakeWorker()

    with anyio.fail_after(5) as scope:
        async with WorkPool(make, max_size=1, init_timeout=0.05, start_backoff=0) as pool:
            with pytest.raises(PoolBroken):
                await pool.execute("a")
    assert not scope.cancel_called


@pytest.mark.fault(5)
@pytest.mark.fault(7)
async def test_starts_that_fail_are_tried_again_and_nobody_notices() -> None:
    workers = FakeWorkers(starts=[OSError(), OSError(), None, OSError(), OSError(), None])
    async with WorkPool(workers, max_size=1, start_backoff=0.001, retire=lambda _: True) as pool:
        assert await pool.execute("a") == "a"
        assert await pool.execute("b") == "b", "a success resets the count"
        assert pool.statistics().start_failures == 4


@pytest.mark.fault(6)
async def test_starts_that_keep_failing_break_the_pool_for_everyone() -> None:
    starts = 0

    def make() -> FakeWorker:
        nonlocal starts
        starts += 1
        raise OSError(f"start {starts}")

    errors: list[PoolBroken] = []
    async with WorkPool(make, max_size=2, start_backoff=0.001) as pool, anyio.create_task_group() as group:

        async def ask() -> None:
            with pytest.raises(PoolBroken) as caught:
                await pool.execute("a")
            errors.append(caught.value)

        async def run() -> None:
            with pytest.raises(PoolBroken) as caught:
                await pool.process(range(10))
            errors.append(caught.value)

        for _ in range(4):
            group.start_soon(ask)
        group.start_soon(run)
    assert len(errors) == 5
    assert all(isinstance(error.__cause__, OSError) for error in errors)
    assert 3 <= starts <= 3 + 2
    assert "start" in str(errors[0])


async def refuses(pool: WorkPool[Any, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await pool.execute("a")
    with pytest.raises(error):
        await pool.process("a")
    with pytest.raises(error):
        async with pool.stream("a"):
            pass


@pytest.mark.fault(53)
async def test_a_broken_pool_refuses_at_once() -> None:
    workers = FakeWorkers(starts=[OSError()] * 9)
    async with WorkPool(workers, start_backoff=0) as pool:
        with pytest.raises(PoolBroken):
            await pool.execute("a")
        for _ in range(3):
            await refuses(pool, PoolBroken)
    assert workers.made == []


@pytest.mark.fault(53)
async def test_a_closed_pool_refuses_at_once() -> None:
    workers = FakeWorkers()
    async with WorkPool(workers) as pool:
        pool.close()
        await refuses(pool, PoolClosed)
    assert workers.made == []


@pytest.mark.fault(87)
async def test_while_a_worker_lives_failing_starts_break_nothing() -> None:
    workers = FakeWorkers(starts=[None, *[OSError()] * 50])
    go = anyio.Event()
    workers.script.append(Hang(go))
    async with WorkPool(workers, max_size=2, start_backoff=0.001, max_start_failures=2) as pool:
        async with anyio.create_task_group() as group:
            group.start_soon(pool.execute, "a")
            group.start_soon(pool.execute, "b")
            while pool.statistics().start_failures < 4:
                await anyio.sleep(0.001)
            go.set()
        assert pool.statistics().succeeded == 2


@pytest.mark.fault(13)
async def test_the_number_of_simultaneous_starts_is_bounded() -> None:
    starting = most = 0

    async def make() -> FakeWorker:
        nonlocal starting, most
        starting += 1
        most = max(most, starting)
        await anyio.sleep(0.001)
        starting -= 1
        return FakeWorker()

    async with WorkPool(make, min_size=20, max_size=20, max_starting=3) as pool:
        await pool.process(range(50))
        while pool.statistics().alive < 20:
            await anyio.sleep(0.001)
    assert most == 3


async def test_what_only_the_log_can_tell_is_seen_without_any_configuration(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(worker: object) -> bool:
        raise RuntimeError("no judge")

    logger = logging.getLogger("worker_pool")
    propagate, logger.propagate = logger.propagate, False
    try:
        async with WorkPool(FakeWorkers(), retire=broken) as pool:
            await pool.execute("a")
    finally:
        logger.propagate = propagate
    told = capfd.readouterr().err
    assert "retire raised on <worker" in told
    assert "no judge" in told
