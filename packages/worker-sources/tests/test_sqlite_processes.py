"""Several processes on one file, and what becomes of the jobs when one of them dies."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after
from anyio.streams.text import TextReceiveStream

from worker_sources import SqliteSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

PROGRAM = Path(__file__).with_name("consumer.py")
WORKERS = 4


@dataclass
class Consumer:
    """A process that consumes, and all that it has reported."""

    process: anyio.abc.Process
    log: list[tuple[float, list[str]]] = field(default_factory=list)
    news: anyio.Event = field(default_factory=anyio.Event)

    async def read(self) -> None:
        assert self.process.stdout is not None
        rest = ""
        async for text in TextReceiveStream(self.process.stdout):
            *lines, rest = (rest + text).split("\n")
            self.log += [(time.monotonic(), line.split()) for line in lines]
            self.news.set()
            self.news = anyio.Event()
        self.news.set()

    def ids(self, what: str) -> Counter[str]:
        return Counter(words[1] for _, words in self.log if words[0] == what)

    async def until(self, what: str, count: int) -> None:
        while sum(words[0] == what for _, words in self.log) < count:
            await self.news.wait()


@asynccontextmanager
async def consumer(path: Path, backend: str, lease: float = 0.5, grace: float = 0.3) -> AsyncIterator[Consumer]:
    command = [sys.executable, str(PROGRAM), str(path), backend, str(WORKERS), str(lease), str(grace)]
    async with await anyio.open_process(command, stderr=None) as process, anyio.create_task_group() as group:
        it = Consumer(process)
        group.start_soon(it.read)
        try:
            await it.until("listening", 1)
            yield it
        finally:
            if process.returncode is None:
                process.kill()
                with anyio.CancelScope(shield=True):
                    await process.wait()


async def unfinished(source: SqliteSource[Any]) -> int:
    statistics = await source.statistics()
    return statistics.ready + statistics.leased


async def kill_one_of_two(path: Path, backend: str, survivor: Consumer, source: SqliteSource[Any], seed: int) -> None:
    """One round: put jobs, kill the other consumer at some moment, and see what becomes of them."""
    chance, lease = random.Random(seed), 0.5
    async with consumer(path, backend, lease) as victim:
        ids, moment = [], chance.randint(1, 6)
        while victim.ids("start").total() < moment:  # the survivor may be quicker: then there are more jobs
            ids += [await source.put(0.02) for _ in range(16)]
            with anyio.move_on_after(0.2):
                await victim.until("start", moment)
        await anyio.sleep(chance.uniform(0, 0.02))  # not a synchronisation: the random moment
        victim.process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        await victim.process.wait()
    in_flight = victim.ids("start") - victim.ids("acked")
    assert len(in_flight) <= WORKERS
    with fail_after(10):
        while await unfinished(source) or not set(ids) <= {*survivor.ids("acked"), *victim.ids("done")}:
            with anyio.move_on_after(0.05):  # what it acknowledged and did not live to tell, only the file tells
                await survivor.news.wait()
    restarts = [at - killed for at, words in survivor.log if words[0] == "start" and words[1] in in_flight]
    assert all(delay < lease + 1 for delay in restarts)
    twice = [one for one in ids if survivor.ids("done")[one] + victim.ids("done")[one] > 1]
    assert set(twice) <= set(in_flight)
    assert all(survivor.ids("done")[one] <= 1 for one in ids)
    statistics = await source.statistics()
    assert (statistics.ready, statistics.leased, statistics.dead) == (0, 0, 0)


@pytest.mark.fault("99g")
@pytest.mark.timeout(120)
async def test_killing_one_of_two_consumers_at_ten_random_moments_loses_nothing(
    tmp_path: Path, anyio_backend_name: str
) -> None:
    path = tmp_path / "jobs.db"
    async with SqliteSource[Any](path) as source, consumer(path, anyio_backend_name) as survivor:
        for seed in range(10):
            with fail_after(30):
                await kill_one_of_two(path, anyio_backend_name, survivor, source, seed)


@pytest.mark.fault("99g")
@pytest.mark.timeout(120)
async def test_a_job_that_kills_its_process_is_dead_lettered_alone(tmp_path: Path, anyio_backend_name: str) -> None:
    path, deaths, done, acked = tmp_path / "jobs.db", 0, set[str](), Counter[str]()
    async with SqliteSource[Any](path) as source:
        innocent = {await source.put(0.03) for _ in range(5)}
        await source.put("poison")
        innocent |= {await source.put(0.03) for _ in range(10)}
        with fail_after(60):
            while await unfinished(source):
                async with consumer(path, anyio_backend_name, lease=0.3) as one:
                    async with anyio.create_task_group() as group:
                        group.start_soon(cancel_when_exited, one, group.cancel_scope)
                        while await unfinished(source):
                            await anyio.sleep(0.01)  # what was acknowledged as it died, only the file tells
                        group.cancel_scope.cancel()
                    deaths += one.process.returncode == 1
                done |= set(one.ids("done"))
                acked += one.ids("acked")
        letters = await source.dead.list()
        assert [letter.value for letter in letters] == ["poison"]
        assert letters[0].attempt == deaths == 3
        assert (await source.statistics()).leased == 0
    assert done == {str(id) for id in innocent}
    assert set(acked.values()) == {1}


async def cancel_when_exited(one: Consumer, scope: anyio.CancelScope) -> None:
    await one.process.wait()
    scope.cancel()


async def test_sigterm_ends_within_its_grace_and_counts_no_attempt(tmp_path: Path, anyio_backend_name: str) -> None:
    path, grace = tmp_path / "jobs.db", 0.3
    async with SqliteSource[Any](path) as source:
        await source.put_many([0.1, "forever", "forever"])
        async with consumer(path, anyio_backend_name, lease=30, grace=grace) as one:
            with fail_after(10):
                await one.until("start", 3)
                one.process.send_signal(signal.SIGTERM)
                began = time.monotonic()
                assert await one.process.wait() == 0
            took = time.monotonic() - began
        assert len(one.ids("acked")) == 1  # what could finish within the grace did
        deliveries = [(await source.receive())[0] for _ in range(2)]  # at once: no lease has to run out
        assert [(delivery.value, delivery.attempt) for delivery in deliveries] == [("forever", 1)] * 2
        assert took < grace + 4, "by itself: what does not let go is ended by force 5 s after the grace"
