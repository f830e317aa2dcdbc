"""trio-parallel: the same calls for trio, with a cache of workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio_parallel

from bench.load import AsyncRun
from bench.pullers import pull
from bench.work import double


@asynccontextmanager
async def open_pool(workers: int) -> AsyncIterator[AsyncRun]:
    async with trio_parallel.open_worker_context() as context:
        yield pull(workers, lambda item: context.run_sync(double, item))
