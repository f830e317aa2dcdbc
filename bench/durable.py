"""A queue in a file: jobs per second, put in hundreds, or worked off and acknowledged one by one. 200-byte bodies."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.loops import run_on

BODY = "x" * 200
WORKERS = 16
LEASE = 30


def value(how: str, jobs: int, loop: str | None = None) -> float:
    """Jobs per second."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "queue.db")
        seconds: float = run_on(loop, HOW[how], path, jobs) if loop else HOW[how](path, jobs)
    return jobs / seconds


async def our_put(path: str, jobs: int) -> float:
    """`put_many` in hundreds, through the async interface."""
    from worker_sources import SqliteSource

    async with SqliteSource[str](path) as source:
        started = time.perf_counter()
        for _ in range(jobs // 100):
            await source.put_many([BODY] * 100)
        elapsed = time.perf_counter() - started
        assert (await source.statistics()).ready == jobs
    return elapsed


def our_put_sync(path: str, jobs: int) -> float:
    """The same statements on the same file without a thread between: what the async interface is measured against."""
    from worker_sources import _json
    from worker_sources._sqlite_file import open_file
    from worker_sources._sqlite_store import Store

    store = Store(open_file(path, synchronous="NORMAL", busy_timeout=5), "default", "bench", LEASE * 1000, 3)
    started = time.perf_counter()
    for _ in range(jobs // 100):
        store.put([(_json.dumps(BODY), None) for _ in range(100)], 0)
    return time.perf_counter() - started


async def our_pool(path: str, jobs: int, queued: int = 0) -> float:
    """A whole pool of no-op workers, every job claimed and acknowledged."""
    import anyio

    from worker_pool import WorkPool
    from worker_sources import SqliteSource

    done, all_done = 0, anyio.Event()

    async def execute(body: str) -> None:
        nonlocal done
        assert body == BODY
        done += 1
        if done == jobs:
            all_done.set()

    async with SqliteSource[str](path, lease=LEASE) as source:
        for _ in range((jobs + queued) // 1000):
            await source.put_many([BODY] * 1000)
        async with WorkPool(lambda: execute, max_size=WORKERS) as pool, anyio.create_task_group() as group:
            started = time.perf_counter()
            group.start_soon(pool.process, source)
            await all_done.wait()
            elapsed = time.perf_counter() - started
            group.cancel_scope.cancel()
    return elapsed


async def our_crowded_pool(path: str, jobs: int) -> float:
    """The same in front of a million more."""
    return await our_pool(path, jobs, queued=1_000_000)


def litequeue(path: str, jobs: int) -> float:
    """litequeue: pop, then done."""
    from litequeue import LiteQueue

    queue = LiteQueue(path)
    for _ in range(jobs):
        queue.put(BODY)
    started = time.perf_counter()
    for _ in range(jobs):
        message = queue.pop()
        assert message.data == BODY
        queue.done(message.message_id)
    return time.perf_counter() - started


def persist_queue(path: str, jobs: int) -> float:
    """persist-queue's acknowledging queue: get, then ack."""
    from persistqueue import SQLiteAckQueue

    queue = SQLiteAckQueue(path, auto_commit=True)
    for _ in range(jobs):
        queue.put(BODY)
    started = time.perf_counter()
    for _ in range(jobs):
        assert queue.get() == BODY
        queue.ack(BODY)
    return time.perf_counter() - started


HOW: dict[str, Callable[..., Any]] = {
    "ours: put in hundreds": our_put,
    "the same statements, synchronous": our_put_sync,
    "ours: pool of 16": our_pool,
    "ours: pool of 16, a million more queued": our_crowded_pool,
    "litequeue": litequeue,
    "persist-queue": persist_queue,
}
