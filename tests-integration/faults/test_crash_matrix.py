"""Every way to end, at every moment of a worker's life, in pools of several sizes, on both loops.

One input is the faulty one. Whatever it does: its own outcome is of the expected kind, all the others have their
results, the pool goes on, and nothing is left behind.

The default run takes a selection that meets every pair (the last test here proves that it does); `--whole-matrix` takes
the whole product.
"""

import itertools
import math
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from stacks import STACKS, make

from worker_ipc import ChannelClosed, RemoteError, open_child
from worker_pool import Failure, PoolBroken, Success, TaskTimeout, WorkPool
from worker_spawn import FunctionError, WorkerDied, spawned_worker
from worker_testkit import answer, evil, exit_with, kill_self, pause, read, step, write

pytestmark = pytest.mark.anyio

DIED, TOLD, LATE = (WorkerDied,), (FunctionError, RemoteError), (TaskTimeout,)
FAULTS: dict[str, tuple[list[Any], tuple[type[Exception], ...]]] = {
    "exit 0": (["leave", 0], DIED),
    "exit 1": (["leave", 1], DIED),
    "SIGKILL": (["die", int(signal.SIGKILL)], DIED),
    "SIGSEGV": (["segfault", None], DIED),
    "SystemExit": (["raise_named", "SystemExit"], TOLD),
    "exception": (["raise_at_length", 10], TOLD),
    "unsendable result": (["unencodable", "set"], TOLD),
    "hang": (["nap", 600], LATE),
    "SIGSTOP": (["die", int(signal.SIGSTOP)], LATE),
}
ROWS = {"hang": pytest.mark.fault(28), "SIGSTOP": pytest.mark.fault(31)}  # rows that one fault proves beside the common
SIZES = [1, 2, 5, 13]


def every_fault_with_every_stack(fault: str, stack: str, anyio_backend: Any, size: int) -> bool:
    """Choose all of these on each loop, and for each one size, in turns: so every fault meets every size."""
    turn = list(FAULTS).index(fault) + STACKS.index(stack) + 2 * (anyio_backend == "trio")
    return size == SIZES[turn % len(SIZES)]


async def run_around(pool: WorkPool[Any, Any], faulty: Any, size: int) -> Failure[Any]:
    """Run the faulty input among `2 * size` good ones; return its outcome, the others' having been as they should."""
    good = [["ok", number] for number in range(2 * size)]
    orders = [*good[:size], faulty, *good[size:]]
    async with pool.stream(orders, ordered=True) as outcomes:
        found = [outcome async for outcome in outcomes]
    bad = found.pop(size)
    assert [outcome.result for outcome in found if isinstance(outcome, Success)] == [number for _, number in good]
    assert isinstance(bad, Failure), bad
    assert await pool.execute(["ok", "next"]) == "next"
    return bad


@pytest.mark.fault(35)
@pytest.mark.covering(chosen=every_fault_with_every_stack)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fault", [pytest.param(fault, marks=ROWS.get(fault, ())) for fault in FAULTS])
@pytest.mark.parametrize("stack", STACKS)
async def test_while_it_runs(stack: str, fault: str, size: int) -> None:
    order, expected = FAULTS[fault]
    if stack == "conversation" and expected == TOLD:
        expected = DIED  # its child has nobody who would catch an exception
    with anyio.fail_after(50):
        limit = 1.0 if expected == LATE else None  # the honest ones, of milliseconds, are under it too
        async with WorkPool(partial(make, stack), max_size=size, execute_timeout=limit) as pool:
            bad = await run_around(pool, order, size)
    assert isinstance(bad.error, expected), bad.error
    assert bad.attempts == 1


GREETING = '{"type":"ready"}\n'
HONEST = '{"jsonrpc":"2.0","id":{id},"result":"honest"}\n'
WAYS: dict[str, Callable[[], Any]] = {
    "exit 0": lambda: exit_with(0),
    "exit 1": lambda: exit_with(1),
    "SIGKILL": lambda: kill_self(signal.SIGKILL),
    "SIGSEGV": lambda: kill_self(signal.SIGSEGV),
    "hang": pause,
    "SIGSTOP": lambda: kill_self(signal.SIGSTOP),
    "hang up": lambda: step("close"),
    "garbage": lambda: write("garbage\n"),
}
MOMENTS: dict[str, list[Any]] = {
    "before it is ready": [],
    "ready half written": [write(GREETING[:5])],
    "ready written": [write(GREETING)],
    "after reading the input": [write(GREETING), read()],
    "reply half written": [write(GREETING), read(), answer(HONEST[:20])],
    "reply written": [write(GREETING), read(), answer(HONEST)],
}


def every_way_at_every_moment(moment: str, way: str, anyio_backend: Any, size: int) -> bool:
    """Choose all of these; loops and sizes take turns, so every way and every moment meets each of them."""
    turn = list(MOMENTS).index(moment) + list(WAYS).index(way)
    return ((anyio_backend == "trio"), size) == ((False, 1), (True, 1), (False, 3), (True, 3))[turn % 4]


class Scripted:
    """A factory of which the first worker follows a script, and the others are honest."""

    def __init__(self, script: list[Any]) -> None:
        self.scripts = [script]

    def __call__(self) -> Any:
        script = self.scripts.pop() if self.scripts else [write(GREETING), step("serve")]

        async def ready(channel: Any) -> None:
            await channel.listen_once("ready")

        return spawned_worker(evil(*script), execute="anything", init=ready, stderr="capture")


@pytest.mark.fault(27)
@pytest.mark.fault(2)
@pytest.mark.fault(3)
@pytest.mark.fault(4)
@pytest.mark.fault(7)
@pytest.mark.fault(55)
@pytest.mark.covering(chosen=every_way_at_every_moment)
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_at_every_byte_of_a_conversation(moment: str, way: str, size: int) -> None:
    """Only a whole reply is a result; whatever comes before it costs at most the one input that was being asked."""
    script = [*MOMENTS[moment], WAYS[way]()]
    with anyio.fail_after(50):
        # A death needs no limit to be noticed; and where there is none, no honest one can be too slow for it.
        limits = {"init_timeout": 1.0, "execute_timeout": 1.0} if way in ("hang", "SIGSTOP") else {}
        async with WorkPool(Scripted(script), max_size=size, min_size=1, start_backoff=0.01, **limits) as pool:
            async with pool.stream(range(6), ordered=True) as outcomes:
                found = [outcome async for outcome in outcomes]
            if any(isinstance(outcome, Failure) for outcome in found):
                assert await pool.execute("next") == "honest"  # the one that was to fail has failed
        failed = [outcome for outcome in found if isinstance(outcome, Failure)]
    assert all(outcome.result == "honest" for outcome in found if isinstance(outcome, Success))
    if moment in ("before it is ready", "ready half written"):
        assert failed == []  # a failed start costs no input
    elif moment == "reply written":
        # A child that hangs, or was stopped, after a good reply is the next one's to find out about.
        assert len(failed) <= 1
        assert isinstance(found[0], Success)
    else:
        assert len(failed) <= 1


@pytest.mark.fault(6)
@pytest.mark.parametrize("way", ["exit 0", "exit 1", "SIGKILL", "SIGSEGV", "hang", "hang up", "garbage"])
async def test_a_start_that_always_ends_so_breaks_the_pool(way: str) -> None:
    script = [WAYS[way]()]

    def factory() -> Any:
        return Scripted(script)()

    with anyio.fail_after(30):
        async with WorkPool(factory, max_size=2, init_timeout=0.3, start_backoff=0.01) as pool:
            with pytest.raises(PoolBroken) as caught:
                await pool.execute("anything")
            assert caught.value.__cause__ is not None
            assert pool.statistics().start_failures <= 3 + 2


@pytest.mark.parametrize("way", ["exit 0", "SIGKILL", "hang", "SIGSTOP", "hang up", "garbage"])
@pytest.mark.fault(49)
async def test_a_worker_that_ends_so_while_the_pool_shuts_down(way: str) -> None:
    script = [write(GREETING), read(), WAYS[way]()]
    with anyio.fail_after(15):
        async with WorkPool(Scripted(script), max_size=1) as pool, anyio.create_task_group() as group:
            ended: list[object] = []

            async def ask() -> None:
                try:
                    ended.append(await pool.execute("anything"))
                except Exception as error:
                    ended.append(error)

            group.start_soon(ask)
            await until(lambda: pool.statistics().running == 1 or bool(ended))
            await pool.shutdown(grace=0.2)
        assert len(ended) == 1
        assert isinstance(ended[0], Exception)


async def until(condition: Callable[[], bool]) -> None:
    """Look again with every turn of the loop."""
    while not condition():
        await anyio.sleep(0.001)


@pytest.mark.fault(36)
@pytest.mark.parametrize("moment", ["before it is ready", "after reading the input", "reply half written"])
async def test_a_grandchild_that_holds_everything_hides_no_death(moment: str, tmp_path: Path) -> None:
    script = [*MOMENTS[moment], step("fork"), exit_with(3)]
    with anyio.fail_after(5):
        async with open_child(evil(*script)) as channel:
            with pytest.raises(ChannelClosed) as caught:
                await channel.request("anything")
            assert caught.value.returncode == 3
    assert os.listdir(tmp_path) == []


LOOPS = ["asyncio", "trio"]


@pytest.mark.parametrize(
    ("chosen", "parameters"),
    [
        (every_fault_with_every_stack, (FAULTS, STACKS, LOOPS, SIZES)),
        (every_way_at_every_moment, (MOMENTS, WAYS, LOOPS, [1, 3])),
    ],
)
def test_the_selection_of_the_default_run_meets_every_pair(chosen: Callable[..., bool], parameters: Any) -> None:
    selected = [case for case in itertools.product(*parameters) if chosen(*case)]
    for one, other in itertools.combinations(range(4), 2):
        pairs = set(itertools.product(parameters[one], parameters[other]))
        assert {(case[one], case[other]) for case in selected} == pairs
    assert len(selected) == len(set(selected)) <= math.prod(map(len, parameters)) / 4
