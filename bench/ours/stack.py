"""The whole stack: a pool of spawned workers, one child process each.

`talk` is "events" (a conversation per input) or "request" (one method per input); `through` is "process" (run all,
hear of failures) or "stream" (look at every outcome).
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.load import AsyncRun
from bench.ours.keeping import Keeper
from worker_ipc import ParentChannel
from worker_pool import WorkPool
from worker_spawn import spawned_worker

CHILD = Path(__file__).with_name("double_child.py")


async def ask(channel: ParentChannel, data: str) -> str:
    response = channel.listen_once("response")
    await channel.send("request", {"data": data})
    answer: str = (await response)["data"]
    return answer


async def ready(channel: ParentChannel) -> None:
    await channel.listen_once("ready")


@asynccontextmanager
async def open_pool(workers: int, talk: str, depth: int, through: str = "process") -> AsyncIterator[AsyncRun]:
    keeper = Keeper()
    if talk == "events":
        make: Callable[[], Any] = lambda: spawned_worker(CHILD, init=ready, execute=ask)  # noqa: E731
    else:
        make = lambda: spawned_worker(CHILD, execute="double")  # noqa: E731
    if through == "process":
        make = keeper.around(make)
    async with WorkPool(make, max_size=workers, concurrency=depth, execute_timeout=60) as pool:
        yield keeper.process(pool) if through == "process" else stream(pool)


def stream(pool: WorkPool[str, str]) -> AsyncRun:
    """Every result as it comes."""

    async def run(inputs: Iterable[str], keep: Callable[[str], object]) -> None:
        async with pool.stream(inputs, ordered=False) as outcomes:
            async for outcome in outcomes:
                keep(outcome.result)  # a Failure has none, and ends the measurement

    return run
