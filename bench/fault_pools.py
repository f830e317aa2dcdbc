"""Nine pools and ours behind one small face: submit an order, get a `concurrent.futures.Future`.

Each starts its workers by "spawn" (a fresh interpreter), two of them. What a pool can't do raises NotImplementedError.
"""

import multiprocessing
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio

from bench.fault_tasks import broken_init, run

WORKERS = 2
spawn = multiprocessing.get_context("spawn")


class Pool:
    """What a cell does with a pool. `needs` is the module that must be installed for it."""

    needs = ""

    def submit(self, order: Any) -> "Future[Any]":
        raise NotImplementedError

    def map(self, orders: Iterable[Any]) -> Iterator[Any]:
        """Results of a lazy map, if the pool has one that can be given an endless source."""
        raise NotImplementedError

    def close(self) -> None:
        """The politest quick way that the pool has to end its workers: not waiting for tasks that never end."""


def in_thread(function: Callable[[], Any]) -> "Future[Any]":
    """A future for a pool that only offers a blocking call."""
    future: Future[Any] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


class MultiprocessingPool(Pool):
    def __init__(self, init: Callable[[], None] | None) -> None:
        self.pool = self.make(init)

    def make(self, init: Callable[[], None] | None) -> Any:
        return spawn.Pool(WORKERS, initializer=init)

    def submit(self, order: Any) -> "Future[Any]":
        result = self.pool.apply_async(run, (order,))
        return in_thread(result.get)

    def map(self, orders: Iterable[Any]) -> Iterator[Any]:
        return iter(self.pool.imap(run, orders))

    def close(self) -> None:
        self.pool.terminate()
        self.pool.join()


class Billiard(MultiprocessingPool):
    needs = "billiard"

    def make(self, init: Callable[[], None] | None) -> Any:
        import billiard

        return billiard.get_context("spawn").Pool(WORKERS, initializer=init)

    def map(self, orders: Iterable[Any]) -> Iterator[Any]:
        raise NotImplementedError


class Executor(Pool):
    def __init__(self, init: Callable[[], None] | None) -> None:
        self.pool = self.make(init)

    def make(self, init: Callable[[], None] | None) -> Any:
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(WORKERS, mp_context=spawn, initializer=init)

    def submit(self, order: Any) -> "Future[Any]":
        return self.pool.submit(run, order)

    def map(self, orders: Iterable[Any]) -> Iterator[Any]:
        return iter(self.pool.map(run, orders))

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


class Loky(Executor):
    needs = "loky"

    def make(self, init: Callable[[], None] | None) -> Any:
        from loky import ProcessPoolExecutor

        return ProcessPoolExecutor(WORKERS, initializer=init)

    def close(self) -> None:
        self.pool.shutdown(kill_workers=True)


class Pebble(Executor):
    needs = "pebble"

    def make(self, init: Callable[[], None] | None) -> Any:
        from pebble import ProcessPool

        return ProcessPool(WORKERS, context=spawn, initializer=init)

    def submit(self, order: Any) -> "Future[Any]":
        return self.pool.schedule(run, args=[order])

    def map(self, orders: Iterable[Any]) -> Iterator[Any]:
        return iter(self.pool.map(run, orders).result())

    def close(self) -> None:
        self.pool.stop()
        self.pool.join()


class Mpire(Pool):
    needs = "mpire"

    def __init__(self, init: Callable[[], None] | None) -> None:
        from mpire import WorkerPool

        self.pool = WorkerPool(WORKERS, start_method="spawn")
        self.init = init

    def submit(self, order: Any) -> "Future[Any]":
        result = self.pool.apply_async(run, (order,), worker_init=self.init)
        return in_thread(result.get)

    def map(self, orders: Iterable[Any]) -> Iterator[Any]:
        return iter(self.pool.imap(run, ((order,) for order in orders), iterable_len=10**9))

    def close(self) -> None:
        self.pool.terminate()


class Async(Pool):
    """A pool that lives in an event loop, run by a portal in a thread; `opened` is entered and left in one task."""

    backend = "asyncio"

    def __init__(self, init: Callable[[], None] | None) -> None:
        from anyio.from_thread import start_blocking_portal

        self.loop = start_blocking_portal(self.backend)  # kept: the portal closes with it
        self.portal = self.loop.__enter__()
        self.context = self.portal.wrap_async_context_manager(self.portal.call(self.opened, init))
        self.pool = self.context.__enter__()

    def opened(self, init: Callable[[], None] | None) -> Any:
        raise NotImplementedError

    async def execute(self, order: Any) -> Any:
        raise NotImplementedError

    def submit(self, order: Any) -> "Future[Any]":
        return self.portal.start_task_soon(self.execute, order)

    def close(self) -> None:
        """Cancel what runs, and leave."""
        self.portal.start_task_soon(self.portal.stop, True)
        self.context.__exit__(None, None, None)


class Aiomultiprocess(Async):
    needs = "aiomultiprocess"

    def opened(self, init: Callable[[], None] | None) -> Any:
        from aiomultiprocess import Pool as AioPool

        return AioPool(WORKERS, initializer=init, childconcurrency=1)  # as the others: one task for one worker

    async def execute(self, order: Any) -> Any:
        return await self.pool.apply(run_async, (order,))

    def close(self) -> None:
        async def terminate() -> None:
            self.pool.terminate()
            await self.pool.join()

        self.portal.call(terminate)


async def run_async(order: Any) -> Any:
    return run(order)


class ToProcess(Async):
    def opened(self, init: Callable[[], None] | None) -> Any:
        if init:
            raise NotImplementedError

        @asynccontextmanager
        async def limited() -> AsyncIterator[Any]:
            yield anyio.CapacityLimiter(WORKERS)

        return limited()

    async def execute(self, order: Any) -> Any:
        from anyio import to_process

        return await to_process.run_sync(run, order, cancellable=True, limiter=self.pool)


class TrioParallel(Async):
    needs = "trio_parallel"
    backend = "trio"

    def opened(self, init: Callable[[], None] | None) -> Any:
        import trio
        import trio_parallel

        @asynccontextmanager
        async def limited() -> AsyncIterator[Any]:
            async with trio_parallel.open_worker_context(**({"init": init} if init else {})) as context:
                yield partial(context.run_sync, kill_on_cancel=True, limiter=trio.CapacityLimiter(WORKERS))

        return limited()

    async def execute(self, order: Any) -> Any:
        return await self.pool(run, order)


class Ours(Async):
    def opened(self, init: Callable[[], None] | None) -> Any:
        from worker_pool import WorkPool
        from worker_spawn import function_worker

        setup = "bench.fault_tasks:broken_init" if init else None
        return WorkPool(partial(function_worker, "bench.fault_tasks:run", setup=setup), max_size=WORKERS)

    async def execute(self, order: Any) -> Any:
        return await self.pool.execute(order)

    def map(self, orders: Iterable[Any]) -> Iterator[Any]:
        """Read the stream from this thread, one outcome at a time."""
        with self.portal.wrap_async_context_manager(self.portal.call(self.pool.stream, orders)) as outcomes:
            while True:
                yield self.portal.call(outcomes.__anext__).result

    def close(self) -> None:
        self.portal.call(partial(self.pool.shutdown, grace=0.5))
        self.context.__exit__(None, None, None)


class OursOnTrio(Ours):
    backend = "trio"


POOLS: dict[str, type[Any]] = {
    "worker-spawn": Ours,
    "worker-spawn (trio)": OursOnTrio,
    "mp.Pool": MultiprocessingPool,
    "billiard": Billiard,
    "cf.PPE": Executor,
    "loky": Loky,
    "pebble": Pebble,
    "mpire": Mpire,
    "aiomultiprocess": Aiomultiprocess,
    "anyio to_process": ToProcess,
    "trio-parallel": TrioParallel,
}


def open_pool(name: str, *, broken: bool = False) -> Pool:
    """Start one; `broken`: with an initializer that always raises."""
    os.environ.setdefault("BENCH_FAULTS_TALLY", os.devnull)
    pool: Pool = POOLS[name](broken_init if broken else None)
    return pool
