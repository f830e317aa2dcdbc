"""A plain function in child processes: `function_worker`, which sends many inputs per message where they are quick."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.load import AsyncRun
from bench.ours.keeping import Keeper
from bench.ours.stack import stream
from worker_pool import WorkPool
from worker_spawn import function_worker


@asynccontextmanager
async def open_pool(workers: int, through: str = "process") -> AsyncIterator[AsyncRun]:
    keeper = Keeper()

    def make() -> function_worker[str, str]:
        return function_worker("bench.work:double")

    chosen = keeper.around(make) if through == "process" else make
    async with WorkPool(chosen, max_size=workers, execute_timeout=60) as pool:
        yield keeper.process(pool) if through == "process" else stream(pool)
