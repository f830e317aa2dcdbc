"""A long mixed load, with a random child killed every 50 ms: the ledger balances, and nothing grows.

And many thousand starts and ends, one after another, which leave nothing.

The default run takes half a minute per event loop; `nox -s soak` sets SOAK_SECONDS to half an hour, and SOAK_CYCLES to
the ten thousand starts that are promised.
"""

import itertools
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from worker_ipc import ParentChannel, RemoteError, open_child
from worker_pool import Failure, Success, WorkerStarted, WorkerStopped, WorkPool
from worker_spawn import FunctionError, WorkerDied, function_worker, spawned_worker
from worker_testkit import children, descriptors

SECONDS = float(os.environ.get("SOAK_SECONDS", "30"))
CYCLES = int(os.environ.get("SOAK_CYCLES", "100"))
KILL_EVERY = 0.05
MAX_GROWTH = 24 << 20  # bytes, between a warm start and the end: caches and fragmentation, but nothing per input
MAX_GROWTH_PER_CYCLE = 1024  # bytes; one descriptor's worth of Python objects that stayed would be more
PATIENCE = 20  # seconds for one start, one answer and one end, which take less than a tenth of one
CHILD = Path(__file__).with_name("soak_child.py")

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(max(SECONDS, CYCLES) + 120)]


class Refused(Exception):
    """The child refused a bad number, by an event."""


async def ready(channel: ParentChannel) -> None:
    await channel.listen_once("ready")


async def ask(channel: ParentChannel, number: int) -> int:
    answer = channel.listen_once("answer")
    await channel.send("ask", {"number": number})
    said = await answer
    if "refused" in said:
        raise Refused(said["refused"])
    return said["double"]


def conversation() -> Any:
    return spawned_worker(CHILD, init=ready, execute=ask, keep_after=Refused)


def request() -> Any:
    return spawned_worker(CHILD, init=ready, execute="double")


def function() -> Any:
    return function_worker("soak_child:double")


class Ledger:
    """What came in and what became of it, for one pool."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.taken = 0
        self.ended: Counter[str] = Counter()

    def inputs(self) -> Iterator[int]:
        for number in itertools.count(1):
            if time.monotonic() > self.until:
                return
            self.taken += 1
            yield number

    def enter(self, outcome: Success[int, int] | Failure[int]) -> None:
        match outcome:
            case Success(number, result):
                assert result == number * 2, f"{number} got the answer of {result // 2}"
                self.ended["results"] += 1
            case Failure(number, WorkerDied()):
                self.ended["killed"] += 1
            case Failure(number, RemoteError() | FunctionError() | Refused()):
                assert number % 20 == 0, f"{number} was refused: {outcome.error}"
                self.ended["refused"] += 1
            case _:
                raise AssertionError(f"unexpected: {outcome}")


class Killer:
    """Kills one living worker after another. It knows them by the events of their pools."""

    def __init__(self) -> None:
        self.living: set[int] = set()
        self.kills = 0

    def watch(self, event: object) -> None:
        # The id of a worker ends with its pid in brackets.
        if isinstance(event, WorkerStarted):
            self.living.add(int(event.worker.id.rpartition("[")[2].rstrip("]")))
        elif isinstance(event, WorkerStopped):
            self.living.discard(int(event.worker.id.rpartition("[")[2].rstrip("]")))

    async def run(self, until: float, chance: random.Random) -> None:
        while time.monotonic() < until:
            await anyio.sleep(KILL_EVERY)  # the rhythm of the test, not a wait for something
            if self.living:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(sorted(self.living)), signal.SIGKILL)
                    self.kills += 1


async def run_pool(make: Callable[[], Any], ledger: Ledger, killer: Killer, **options: Any) -> None:
    async with WorkPool(make, max_size=2, execute_timeout=30, **options) as pool:
        pool.listen(killer.watch)
        async with pool.stream(ledger.inputs()) as outcomes:
            async for outcome in outcomes:
                ledger.enter(outcome)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def load(seconds: float, chance: random.Random) -> tuple[list[Ledger], int]:
    until = time.monotonic() + seconds
    ledgers = [Ledger(until) for _ in range(3)]
    killer = Killer()
    async with anyio.create_task_group() as group:
        group.start_soon(run_pool, conversation, ledgers[0], killer)
        group.start_soon(lambda: run_pool(request, ledgers[1], killer, concurrency=4))
        group.start_soon(run_pool, function, ledgers[2], killer)
        group.start_soon(killer.run, until, chance)
    return ledgers, killer.kills


@pytest.mark.fault(91)
async def test_the_ledger_balances_and_nothing_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CHILD.parent))
    chance = random.Random(1)
    await load(SECONDS / 5, chance)  # warm
    memory, opened = resident(), descriptors()

    ledgers, kills = await load(SECONDS * 4 / 5, chance)
    grown = resident() - memory

    for name, ledger in zip(("conversation", "request", "function"), ledgers, strict=True):
        print(f"{name:>12}: {ledger.taken} inputs = {dict(ledger.ended)}")
        assert ledger.taken == ledger.ended.total()
        assert ledger.ended["results"]
        assert ledger.ended["refused"]
        assert ledger.ended["killed"]
    print(f"{kills} kills, memory {grown / 2**20:+.1f} MiB, {len(opened)} descriptors before and after")
    assert kills > SECONDS
    assert descriptors() == opened
    assert grown < MAX_GROWTH


async def cycle() -> float:
    """Start a child, let it answer once, end it; return how long that took."""
    began = time.perf_counter()
    with anyio.fail_after(PATIENCE):
        async with open_child([sys.executable, str(CHILD)]) as channel:
            await channel.listen_once("ready")
            assert await channel.request("double", [1]) == 2
    return time.perf_counter() - began


@pytest.mark.fault(89)
async def test_many_starts_and_ends_leave_nothing() -> None:
    for _ in range(CYCLES // 10):  # warm
        await cycle()
    memory, opened, threads = resident(), descriptors(), threading.active_count()

    times = [await cycle() for _ in range(CYCLES)]
    grown = resident() - memory

    print(f"{CYCLES} starts and ends: {1000 * sum(times) / CYCLES:.1f} ms each, the longest {1000 * max(times):.0f} ms")
    print(f"memory {grown / CYCLES:+.0f} bytes for each, before and after {len(opened)} descriptors, {threads} threads")
    assert descriptors() == opened
    assert threading.active_count() == threads
    assert children() == {}
    assert grown < max(CYCLES * MAX_GROWTH_PER_CYCLE, 4 << 20)  # a short run sees steps of the allocator, no slope
