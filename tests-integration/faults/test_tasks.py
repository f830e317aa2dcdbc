"""B. During a task, on the whole stack: what a child can do to its input, and to nobody else's."""

import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from stacks import CONVERSATION, FUNCTION, REQUEST, STACKS, make

from worker_ipc import EncodeError, RemoteError
from worker_pool import Failure, Retry, Success, TaskTimeout, WorkPool
from worker_spawn import FunctionError, WorkerDied
from worker_testkit import kill_unseen

pytestmark = pytest.mark.anyio

every_stack = pytest.mark.parametrize("stack", STACKS)
answering = pytest.mark.parametrize("stack", [FUNCTION, REQUEST])  # an exception in a bare conversation ends the child


@asynccontextmanager
async def pool_of(stack: str, **options: Any) -> AsyncIterator[WorkPool[Any, Any]]:
    """A pool of one, and proof at the end that it still works."""
    options.setdefault("max_size", 1)
    with anyio.fail_after(40):
        async with WorkPool(partial(make, stack), **options) as pool:
            yield pool
            assert await pool.execute(["ok", "still here"]) == "still here"


@every_stack
@pytest.mark.parametrize(
    ("order", "returncode"),
    [
        pytest.param(["die", signal.SIGKILL], -signal.SIGKILL, marks=pytest.mark.fault(15), id="SIGKILL"),
        pytest.param(["leave", 0], 0, marks=pytest.mark.fault(16), id="exit 0"),
        pytest.param(["leave", 3], 3, marks=pytest.mark.fault(16), id="exit 3"),
        pytest.param(["segfault", None], -signal.SIGSEGV, marks=pytest.mark.fault(18), id="SIGSEGV"),
        pytest.param(["die", signal.SIGABRT], -signal.SIGABRT, marks=pytest.mark.fault(18), id="SIGABRT"),
        pytest.param(
            ["fork_and_die", None], 3, marks=[pytest.mark.fault(36), pytest.mark.fault(35)], id="fork, then die"
        ),
    ],
)
async def test_a_death_is_told_at_once_and_costs_one_input(stack: str, order: list[Any], returncode: int) -> None:
    async with pool_of(stack) as pool:
        first = await pool.execute(["pid", None])
        start = time.perf_counter()
        with pytest.raises(WorkerDied) as caught:
            await pool.execute(order)
        assert time.perf_counter() - start < 1.5
        assert (caught.value.returncode, caught.value.phase, caught.value.pid) == (returncode, "execute", first)
        if order[0] == "die":
            assert "last words" in caught.value.stderr
        if order[0] == "segfault":
            assert "Segmentation fault" in caught.value.stderr
        assert await pool.execute(["pid", None]) != first
        assert pool.statistics().retried == 0


@answering
@pytest.mark.fault(17)
@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
async def test_what_would_end_a_program_ends_one_input(stack: str, name: str) -> None:
    async with pool_of(stack) as pool:
        before = await pool.execute(["pid", None])
        with pytest.raises((FunctionError, RemoteError)):
            await pool.execute(["raise_named", name])
        assert await pool.execute(["pid", None]) == before


@answering
@pytest.mark.fault(21)
@pytest.mark.parametrize("order", [["raise_unbuildable", None], ["raise_at_length", 100_000_000]], ids=lambda o: o[0])
async def test_an_error_that_cannot_be_told_is_told_all_the_same_in_few_words(stack: str, order: list[Any]) -> None:
    async with pool_of(stack) as pool:
        before = await pool.execute(["pid", None])
        with pytest.raises((FunctionError, RemoteError)) as caught:
            await pool.execute(order)
        assert len(str(caught.value)) < 100_000
        assert await pool.execute(["pid", None]) == before


@answering
@pytest.mark.fault(22)
async def test_a_result_that_cannot_be_sent_fails_alone(stack: str) -> None:
    async with pool_of(stack) as pool:
        before = await pool.execute(["pid", None])
        for what in ("set", "bytes", "nan", "big", "surrogate", "cycle", "deep", "object"):
            with pytest.raises((FunctionError, RemoteError)):
                await pool.execute(["unencodable", what])
                pytest.fail(f"{what} was sent")
            assert await pool.execute(["pid", None]) == before, what


@every_stack
@pytest.mark.fault(23)
async def test_an_input_that_cannot_be_sent_fails_alone(stack: str) -> None:
    async with pool_of(stack) as pool:
        before = await pool.execute(["pid", None])
        for value in ({1}, b"x", float("nan"), 2**64, "\ud800", object()):
            with pytest.raises(EncodeError):
                await pool.execute(["ok", value])
                pytest.fail(f"{value!r} was sent")
            assert await pool.execute(["pid", None]) == before, value


@every_stack
@pytest.mark.fault(19)
async def test_out_of_memory_is_an_error_of_the_one_that_asked_too_much(stack: str) -> None:
    async with pool_of(stack) as pool:
        with pytest.raises((FunctionError, RemoteError, WorkerDied)) as caught:
            await pool.execute(["swallow_memory", None])
        assert "MemoryError" in str(caught.value) + repr(getattr(caught.value, "data", ""))
        assert pool.statistics().retried == 0


@every_stack
@pytest.mark.fault(19)
async def test_a_child_that_the_kernel_kills_for_its_memory_costs_one_input(stack: str, small_group: Path) -> None:
    async with pool_of(stack) as pool:
        with pytest.raises(WorkerDied) as caught:
            await pool.execute(["outgrow", str(small_group)])
        assert (caught.value.signal, caught.value.phase) == (signal.SIGKILL, "execute")
        assert pool.statistics().retried == 0


@every_stack
@pytest.mark.fault(24)
async def test_a_large_input_and_a_large_result_arrive_while_others_go_on(stack: str) -> None:
    text = "x" * 10_000_000
    async with pool_of(stack, max_size=2) as pool:
        small: list[float] = []

        async def others() -> None:
            while True:
                start = time.perf_counter()
                await pool.execute(["ok", 1])
                small.append(time.perf_counter() - start)

        async with anyio.create_task_group() as group:
            group.start_soon(others)
            assert await pool.execute(["length", text]) == len(text)
            assert len(await pool.execute(["big", 10_000_000])) == 10_000_000
            group.cancel_scope.cancel()
        assert len(small) > 20
        assert max(small) < 5


@every_stack
@pytest.mark.fault(25)
async def test_a_death_during_a_large_input_loses_nobody_else(stack: str) -> None:
    """The input fills every buffer on its way many times over; its child dies of it, and the others' do not."""
    async with pool_of(stack, max_size=3) as pool:
        outcomes: list[object] = []

        async def run(order: list[Any]) -> None:
            try:
                outcomes.append(await pool.execute(order))
            except WorkerDied as error:
                outcomes.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(run, ["die", signal.SIGKILL, "x" * 10_000_000])
            for number in range(6):
                group.start_soon(run, ["nap", number / 100])
        died = [outcome for outcome in outcomes if isinstance(outcome, WorkerDied)]
        assert len(died) == 1
        assert sorted(value for value in outcomes if isinstance(value, float)) == [n / 100 for n in range(6)]


def on_alternate_loops(stack: str, busy: str, anyio_backend: Any) -> bool:
    """Choose every stack with every way to be busy, once; each of them meets both loops."""
    return (anyio_backend == "trio") == (STACKS.index(stack) + (busy == "spin")) % 2


# The crash matrix has two more, each on both loops: a sleeping one (28) and a stopped one (31).
@every_stack
@pytest.mark.covering(chosen=on_alternate_loops)
@pytest.mark.parametrize(
    "busy",
    [
        pytest.param("stubborn", marks=pytest.mark.fault(29), id="ignoring SIGTERM"),
        pytest.param("spin", marks=pytest.mark.fault(30), id="in C, holding the lock"),
    ],
)
async def test_whatever_it_is_busy_with_a_limit_is_a_limit(stack: str, busy: str) -> None:
    async with pool_of(stack, execute_timeout=0.4) as pool:
        before = await pool.execute(["pid", None])
        start = time.perf_counter()
        with pytest.raises(TaskTimeout):
            await pool.execute([busy, None])
        assert time.perf_counter() - start < 4
        assert await pool.execute(["pid", None]) != before  # nobody waits for it


@pytest.mark.fault(28)
async def test_a_result_does_not_wait_behind_a_slow_input_that_travelled_with_it() -> None:
    """Two thousand quick inputs teach the pool to send many at once; the last ones travel with one that naps."""
    async with pool_of(FUNCTION) as pool:
        orders: list[Any] = [["ok", number] for number in range(2000)] + [["nap", 1.0]]
        start = time.perf_counter()
        async with pool.stream(orders) as outcomes:
            finished = [(time.perf_counter() - start, outcome.unwrap()) async for outcome in outcomes]
        assert [value for _, value in finished] == [*range(2000), 1.0]
        assert finished[-1][0] - finished[-2][0] > 0.5


@pytest.mark.fault(28)
@pytest.mark.fault(35)
async def test_a_limit_hits_the_slow_input_and_not_its_neighbours_in_the_same_message() -> None:
    with anyio.fail_after(40):
        async with WorkPool(partial(make, FUNCTION), max_size=1, execute_timeout=1) as pool:
            good: list[Any] = [["ok", number] for number in range(2000)]
            async with pool.stream([*good, ["nap", 600], *good]) as outcomes:
                failed = [outcome async for outcome in outcomes if isinstance(outcome, Failure)]
    assert [outcome.input for outcome in failed] == [["nap", 600]]
    assert isinstance(failed[0].error, TaskTimeout)


@every_stack
@pytest.mark.fault(34)
async def test_a_poisonous_input_is_run_as_often_as_asked_and_no_more(stack: str) -> None:
    async with pool_of(stack, max_size=2, retry=Retry(attempts=3, backoff=0.01)) as pool:
        orders: list[Any] = [["ok", 1], ["die", signal.SIGKILL], ["ok", 2]]
        async with pool.stream(orders, ordered=True) as outcomes:
            one, poison, two = [outcome async for outcome in outcomes]
        assert isinstance(one, Success)
        assert isinstance(two, Success)
        assert isinstance(poison, Failure)
        assert isinstance(poison.error, WorkerDied)
        assert poison.attempts == 3


@every_stack
@pytest.mark.fault(35)
async def test_of_four_busy_workers_the_death_of_one_is_felt_by_one(stack: str) -> None:
    async with pool_of(stack, max_size=4) as pool:
        orders: list[Any] = [["nap", 0.1], ["nap", 0.1], ["die", signal.SIGKILL], ["nap", 0.1]] * 3
        async with pool.stream(orders, ordered=True) as outcomes:
            kinds = [type(outcome) async for outcome in outcomes]
        assert kinds == [Success, Success, Failure, Success] * 3


@every_stack
@pytest.mark.fault(43)
async def test_what_a_task_leaves_in_its_worker_is_there_for_the_next_until_it_retires(stack: str) -> None:
    async with pool_of(stack) as pool:
        assert await pool.execute(["leave_a_mark", "mine"]) is None
        assert await pool.execute(["leave_a_mark", "again"]) == "mine"
    async with pool_of(stack, retire=lambda worker: worker.tasks >= 1) as pool:
        assert await pool.execute(["leave_a_mark", "mine"]) is None
        assert await pool.execute(["leave_a_mark", "again"]) is None


@every_stack
@pytest.mark.fault(42)
async def test_workers_that_retire_after_one_task_lose_nothing(stack: str) -> None:
    async with pool_of(stack, max_size=2, retire=lambda worker: worker.tasks >= 1) as pool:
        async with pool.stream([["pid", None]] * 8) as outcomes:
            pids = [outcome.unwrap() async for outcome in outcomes]
        assert len(set(pids)) == 8


@pytest.mark.stress
@every_stack
@pytest.mark.fault(44)
async def test_a_cancelled_task_never_answers_somebody_else(stack: str) -> None:
    async with pool_of(stack, max_size=2) as pool:
        for number in range(8):
            with anyio.move_on_after(0.02 * number / 4):
                await pool.execute(["nap", 0.02])
            assert await pool.execute(["ok", number]) == number


@pytest.mark.stress
@pytest.mark.fault(38)
@every_stack
async def test_an_idle_worker_that_was_killed_is_handed_to_nobody(stack: str, rounds: Callable[[int], int]) -> None:
    async with pool_of(stack) as pool:
        for is_noticed in (False, True) * rounds(3):
            victim = await pool.execute(["pid", None])
            kill_unseen(victim)
            if is_noticed:
                await anyio.wait_all_tasks_blocked()
            assert await pool.execute(["pid", None]) != victim
        assert pool.statistics().retried == 0


@pytest.mark.fault(52)
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@every_stack
def test_an_interpreter_that_ends_under_a_running_pool_leaves_nobody(loop: str, stack: str) -> None:
    from worker_testkit import doomed_parent

    scenario = """
    import anyio
    from functools import partial
    sys.path[:] = sys.argv[3].split(":")
    from stacks import make
    from worker_pool import WorkPool

    async def main():
        async with WorkPool(partial(make, sys.argv[2]), max_size=2) as pool:
            report(*{await pool.execute(["pid", None]) for _ in range(1)})
            async with anyio.create_task_group() as group:
                group.start_soon(pool.execute, ["nap", 600])
                group.start_soon(pool.execute, ["spin", None])
                while pool.statistics().running < 2:
                    await anyio.sleep(0.01)
                group.cancel_scope.cancel()
            sys.exit(4)

    anyio.run(main, backend=sys.argv[1])
    """
    with doomed_parent(scenario, loop, stack, ":".join(sys.path), stderr=-3) as parent:
        parent.reported(1)
        assert parent.process.wait(20) == 4
        assert parent.gone_within(1) == []


@pytest.mark.fault(79)
@pytest.mark.fault(80)
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@every_stack
def test_a_killed_parent_of_a_busy_pool_leaves_nobody(loop: str, stack: str) -> None:
    from worker_testkit import children, doomed_parent

    scenario = """
    import anyio
    from functools import partial
    sys.path[:] = sys.argv[3].split(":")
    from stacks import make
    from worker_pool import WorkPool
    from worker_testkit import children

    async def main():
        async with WorkPool(partial(make, sys.argv[2]), max_size=3, min_size=3) as pool:
            async with anyio.create_task_group() as group:
                group.start_soon(pool.execute, ["spin", None])
                group.start_soon(pool.execute, ["stubborn", None])
                while (pool.statistics().alive, pool.statistics().running) != (3, 2):
                    await anyio.sleep(0.01)
                report(*(child.pid for child in children().values()))
                await anyio.sleep_forever()

    anyio.run(main, backend=sys.argv[1])
    """
    with doomed_parent(scenario, loop, stack, ":".join(sys.path)) as parent:
        parent.reported(3)
        parent.kill()
        assert parent.gone_within(1) == []
    assert all(child.pid not in parent.reported(3) for child in children().values())


assert CONVERSATION in STACKS
