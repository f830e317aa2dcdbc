"""An input that its child certainly did not begin runs on another; one that it may have begun never runs twice."""

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from worker_ipc import open_stream
from worker_ipc.codecs import JsonLines
from worker_pool import Failure, Success, WorkPool
from worker_spawn import SpawnedWorker, WorkerDied, function_worker, spawned_worker
from worker_testkit import kill_unseen

pytestmark = pytest.mark.anyio

NOTER = Path(__file__).with_name("noter.py")
KINDS = ["conversation", "request", "stream"]
every_kind = pytest.mark.parametrize("kind", KINDS)


async def by_events(channel: Any, order: Any) -> int:
    done = channel.listen_once("done")
    await channel.send("begin", {"order": order})
    return (await done)["pid"]


async def by_lines(stream: Any, order: Any) -> int:
    await stream.send(order)
    return await stream.receive()


async def until_ready(channel: Any) -> None:
    await channel.listen_once("ready")


class Noters:
    """Makes workers of one kind, remembers them, and reads what their children have begun."""

    def __init__(self, kind: str, notes: Path) -> None:
        self.kind = kind
        self.notes = notes
        self.execute: Any = {"conversation": by_events, "request": "begin", "stream": by_lines}[kind]
        self.workers: list[SpawnedWorker[Any, Any]] = []

    def make(self) -> spawned_worker[Any, Any]:
        if self.kind == "stream":
            command = [NOTER, "lines", self.notes]
            return spawned_worker(command, open=open_stream, codec=JsonLines(), execute=self.execute)
        return spawned_worker([NOTER, "events", self.notes], init=until_ready, execute=self.execute)

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[SpawnedWorker[Any, Any]]:
        async with self.make() as worker:
            self.workers.append(worker)
            yield worker

    def begun(self) -> Counter[int]:
        return Counter(map(int, self.notes.read_text().split())) if self.notes.exists() else Counter()


@pytest.fixture
def noters(kind: str, tmp_path: Path) -> Noters:
    return Noters(kind, tmp_path / "notes")


@pytest.mark.stress
@pytest.mark.fault(38)
@every_kind
async def test_a_death_in_the_instant_before_an_input_is_unseen(noters: Noters, rounds: Callable[[int], int]) -> None:
    deaths = rounds(20)
    async with WorkPool(noters, max_size=1) as pool:
        await pool.execute([0, None])
        for number in range(1, deaths + 1):
            kill_unseen(noters.workers[-1].pid)
            with anyio.fail_after(10):
                assert await pool.execute([number, None]) == noters.workers[-1].pid
        assert pool.statistics().retried == 0
    assert noters.begun() == Counter(range(deaths + 1))
    assert len(noters.workers) == deaths + 1


@pytest.mark.fault(38)
@every_kind
async def test_all_may_be_dead_at_once_also_those_that_never_worked(noters: Noters) -> None:
    async with WorkPool(noters, min_size=3, max_size=3, max_starting=3) as pool:
        while pool.statistics().alive < 3:
            await anyio.sleep(0.001)
        for worker in noters.workers:
            kill_unseen(worker.pid)
        async with pool.stream([[number, None] for number in range(9)]) as outcomes:
            ended = [outcome async for outcome in outcomes]
    assert all(isinstance(outcome, Success) and outcome.attempts == 1 for outcome in ended)
    assert noters.begun() == Counter(range(9))


@pytest.mark.fault(38)
@pytest.mark.parametrize("kind", ["request"])
async def test_all_the_requests_that_a_dead_child_was_sent_run_elsewhere(noters: Noters) -> None:
    async with WorkPool(noters, max_size=1, concurrency=8) as pool:
        await pool.execute([0, None])
        kill_unseen(noters.workers[-1].pid)
        async with pool.stream([[number, None] for number in range(1, 30)]) as outcomes:
            ended = [outcome async for outcome in outcomes]
    assert all(isinstance(outcome, Success) for outcome in ended)
    assert noters.begun() == Counter(range(30))
    assert len(noters.workers) == 2


@pytest.mark.stress
@pytest.mark.fault(15)
@every_kind
async def test_an_input_that_was_begun_never_runs_again(noters: Noters, rounds: Callable[[int], int]) -> None:
    deaths = rounds(5)
    async with WorkPool(noters, max_size=1) as pool:
        for number in range(deaths):
            with anyio.fail_after(10), pytest.raises(WorkerDied, match="SIGKILL during execute") as caught:
                await pool.execute([number, "die"])
            assert not caught.value.not_started
    assert noters.begun() == Counter(range(deaths))


@pytest.mark.stress
@pytest.mark.fault(15)
@pytest.mark.fault(98)
@every_kind
async def test_whenever_children_are_killed_each_input_ends_once_and_begins_once(
    noters: Noters, seed: int, rounds: Callable[[int], int]
) -> None:
    numbers = range(rounds(200))

    async def kill_now_and_then(chance: random.Random) -> None:
        due = 1
        while True:
            await anyio.sleep(chance.uniform(0, 0.01))
            alive = [worker for worker in noters.workers if worker.active]
            succeeded = pool.statistics().succeeded
            if alive and succeeded >= due:  # after some work, or a slow machine would only start children
                due = succeeded + chance.randint(1, 8)
                os.kill(chance.choice(alive).pid, signal.SIGKILL)

    async with WorkPool(noters, max_size=3) as pool, anyio.create_task_group() as group:
        group.start_soon(kill_now_and_then, random.Random(seed))
        async with pool.stream([[number, "work"] for number in numbers]) as outcomes:
            ended = [outcome async for outcome in outcomes]
        group.cancel_scope.cancel()
    assert sorted(outcome.input[0] for outcome in ended) == list(numbers)
    for outcome in ended:
        if isinstance(outcome, Failure):
            assert isinstance(outcome.error, WorkerDied)
            assert not outcome.error.not_started
    begun = noters.begun()
    assert set(begun.values()) == {1}
    assert {outcome.input[0] for outcome in ended if isinstance(outcome, Success)} <= set(begun)


@every_kind
async def test_without_a_pool_the_error_says_that_nothing_has_begun(noters: Noters) -> None:
    async with noters() as worker:
        kill_unseen(worker.pid)
        for _ in range(2):  # in the instant, and when its death is known
            with pytest.raises(WorkerDied, match="killed by SIGKILL before it began its input") as caught:
                await worker.execute([1, None])
            assert caught.value.not_started
            assert caught.value.signal == signal.SIGKILL
    assert not noters.begun()


@pytest.mark.parametrize("kind", ["conversation"])
async def test_a_conversation_that_finds_its_channel_closed_has_not_begun(noters: Noters) -> None:
    noters.execute = lambda channel, order: channel.request("begin", [order])
    async with noters() as worker:
        kill_unseen(worker.pid)
        for _ in range(2):
            with pytest.raises(WorkerDied, match="before it began its input"):
                await worker.execute([1, None])


@pytest.mark.parametrize("kind", ["conversation", "stream"])
async def test_a_conversation_of_which_a_message_was_read_has_begun(noters: Noters) -> None:
    ask = noters.execute

    async def ask_twice(channel: Any, order: Any) -> None:
        await ask(channel, order)
        kill_unseen(channel.pid)
        await ask(channel, order)

    noters.execute = ask_twice
    async with WorkPool(noters, max_size=1) as pool:
        with pytest.raises(WorkerDied, match="SIGKILL during execute"):
            await pool.execute([1, None])
    assert noters.begun() == Counter([1])


READS_A_PART = """
import os
fd = int(os.environ.get("NODE_CHANNEL_FD", 0))
os.set_blocking(fd, True)
os.read(fd, 1000)
os.kill(os.getpid(), 9)
"""


@pytest.mark.fault(25)
@pytest.mark.parametrize("over", ["stdio", "channel"])
async def test_what_killed_its_reader_while_it_was_read_is_not_given_to_another(over: Any) -> None:
    """A large message: the kernel took a part of it, the child a part of that."""
    started = []

    async def send(stream: Any, size: int) -> str:
        started.append(size)
        await stream.send("x" * size)
        return await stream.receive()

    def make() -> spawned_worker[int, str]:
        return spawned_worker([sys.executable, "-c", READS_A_PART], open=open_stream, over=over, execute=send)

    async with WorkPool(make, max_size=1) as pool:
        with anyio.fail_after(10), pytest.raises(WorkerDied, match="SIGKILL during execute"):
            await pool.execute(10_000_000)
    assert started == [10_000_000]


def dies_when_ready(kind: str) -> Callable[[], Any]:
    if kind == "function":
        return lambda: function_worker("functions:double", setup="functions:die_at_the_first_read")
    if kind == "stream":
        return lambda: spawned_worker("true", open=open_stream, execute=lambda stream, _: by_lines(stream, "x"))
    execute: Any = "begin" if kind == "request" else by_events
    program = "from worker_ipc.blocking import open_parent\nwith open_parent() as channel: channel.send('ready')"
    return lambda: spawned_worker([sys.executable, "-c", program], init=until_ready, execute=execute)


@pytest.mark.fault(6)
@pytest.mark.parametrize("kind", [*KINDS, "function"])
async def test_a_program_that_dies_whenever_it_is_ready_ends_in_its_error(kind: str) -> None:
    async with WorkPool(dies_when_ready(kind), max_size=2) as pool:
        for _ in range(2):
            with anyio.fail_after(20), pytest.raises(WorkerDied):
                await pool.execute([1, None])
        assert pool.statistics().started <= 2 + 3 + 1


@pytest.mark.parametrize("kind", ["conversation"])
async def test_the_death_of_another_worker_is_not_taken_for_its_own(noters: Noters) -> None:
    """An input may use a worker of its own; what it did before that is not to be done again."""
    runs = []

    async def use_another(channel: Any, order: Any) -> Any:
        runs.append(order)
        async with Noters(noters.kind, noters.notes)() as other:
            kill_unseen(other.pid)
            return await other.execute(order)

    noters.execute = use_another
    async with WorkPool(noters, max_size=1) as pool:
        with pytest.raises(WorkerDied, match="before it began"):
            await pool.execute([1, None])
    assert len(runs) == 1
