"""`anyio.to_process`: one call at a time per worker, pulled by as many tasks as there are workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_process

from bench.load import AsyncRun
from bench.pullers import pull
from bench.work import double


@asynccontextmanager
async def open_pool(workers: int) -> AsyncIterator[AsyncRun]:
    limiter = anyio.CapacityLimiter(workers)
    yield pull(workers, lambda item: anyio.to_process.run_sync(double, item, limiter=limiter))
