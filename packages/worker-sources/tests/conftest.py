from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from worker_sources import SourceClosed, SqliteSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nothing_is_left(no_leaks: None) -> None:
    """Every test of this package answers for its threads, descriptors, tasks and files."""


class Clock:
    """The time that the sources of a test go by. It stands still until it is told to go."""

    def __init__(self) -> None:
        self.ms = 1_000_000_000_000
        self._listeners: list[Callable[[], object]] = []

    def __call__(self) -> int:
        return self.ms

    def advance(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], object]) -> None:
        self._listeners.append(listener)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("worker_sources._sqlite_thread.now_ms", clock)
    return clock


@dataclass
class Job:
    id: str
    value: object
    visible_at: int
    attempt: int = 0
    claim: int = 0
    leased: bool = False


class MemoryDelivery:
    """A delivery of `MemoryAcks`."""

    isolate = False

    def __init__(self, source: MemoryAcks, job: Job) -> None:
        self.source, self.job, self.claim = source, job, job.claim
        self.value, self.id, self.attempt = job.value, job.id, job.attempt
        self.last = job.attempt >= source.max_attempts

    @property
    def is_ours(self) -> bool:
        return self.job in self.source.jobs and self.job.leased and self.job.claim == self.claim

    def free(self, visible_at: int) -> bool:
        if not self.is_ours:
            return False
        self.job.leased, self.job.visible_at = False, visible_at
        self.source.changed()
        return True

    async def ack(self) -> bool:
        if self.is_ours:
            self.source.jobs.remove(self.job)
            self.source.changed()
            return True
        return False

    async def nack(self, delay: float = 0) -> bool:
        if self.last:
            return await self.reject(f"failed {self.attempt} times")
        return self.free(self.source.clock() + round(delay * 1000))

    async def hand_back(self) -> bool:
        if self.is_ours:
            self.job.attempt -= 1
        return self.free(0)

    async def reject(self, reason: str) -> bool:
        if self.is_ours:
            self.source.graveyard.append((self.id, reason))
        return await self.ack()


class MemoryAcks:
    """The simplest source that keeps the contract: what the contract means, in a page."""

    def __init__(self, clock: Clock, lease: float, max_attempts: int) -> None:
        self.clock, self.lease, self.max_attempts = clock, lease, max_attempts
        self.jobs: list[Job] = []
        self.graveyard: list[tuple[str, str]] = []
        self.event = anyio.Event()
        self.closed = False
        self.ids = itertools.count(1)
        clock.listen(self.changed)

    def changed(self) -> None:
        self.event.set()
        self.event = anyio.Event()

    def close(self) -> None:
        self.closed = True
        self.changed()

    async def put(self, value: object, *, delay: float = 0) -> str:
        if self.closed:
            raise SourceClosed
        job = Job(str(next(self.ids)), value, self.clock() + round(delay * 1000))
        self.jobs.append(job)
        self.changed()
        return job.id

    async def receive(self, max_items: int = 1) -> list[MemoryDelivery]:
        await anyio.lowlevel.checkpoint()
        while not (ready := self.ready()[:max_items]):
            if self.closed and not self.jobs:
                raise anyio.EndOfStream
            await self.event.wait()
        for job in ready:
            job.attempt, job.claim, job.leased = job.attempt + 1, job.claim + 1, True
            job.visible_at = self.clock() + round(self.lease * 1000)
        return [MemoryDelivery(self, job) for job in ready]

    def ready(self) -> list[Job]:
        now = self.clock()
        for job in [job for job in self.jobs if job.leased and job.visible_at <= now]:
            job.leased, job.visible_at = False, 0
            if job.attempt >= self.max_attempts:
                self.jobs.remove(job)
                self.graveyard.append((job.id, "died"))
        return sorted(
            (job for job in self.jobs if not job.leased and job.visible_at <= now), key=lambda j: j.visible_at
        )

    async def renew(self, held: list[MemoryDelivery]) -> list[MemoryDelivery]:
        for delivery in held:
            if delivery.is_ours:
                delivery.job.visible_at = self.clock() + round(self.lease * 1000)
        return [delivery for delivery in held if not delivery.is_ours]

    async def dead(self) -> list[tuple[str, str]]:
        return self.graveyard


class SqliteAcks(SqliteSource[object]):
    """A SqliteSource that goes by the test's clock."""

    async def __aenter__(self) -> SqliteAcks:
        await super().__aenter__()
        return self

    def follow(self, clock: Clock) -> None:
        clock.listen(lambda: self._thread and self._thread.nudge())


@pytest.fixture(params=["memory", "sqlite"])
def acks(
    request: pytest.FixtureRequest, clock: Clock, tmp_path: Path
) -> Callable[[], AbstractAsyncContextManager[Any]]:
    """A function that opens an empty acknowledging source: lease 10 s, 3 attempts, on the test's clock."""

    @asynccontextmanager
    async def memory() -> AsyncIterator[MemoryAcks]:
        yield MemoryAcks(clock, lease=10, max_attempts=3)

    @asynccontextmanager
    async def sqlite() -> AsyncIterator[SqliteAcks]:
        async with SqliteAcks(tmp_path / "jobs.db", lease=10, max_attempts=3) as source:
            source.follow(clock)
            yield source

    return memory if request.param == "memory" else sqlite
