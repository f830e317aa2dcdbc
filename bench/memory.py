"""A million inputs from a generator: how many are taken before their turn, and how far memory grows.

A pool that takes what it can't work on yet holds it in memory, and takes it from a queue where another could have it.
"""

import gc
import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from resource import getpagesize
from typing import Any

from bench.loops import run_on
from bench.work import double

INPUTS = 1_000_000


class Taken:
    """The generator of the inputs, which watches whoever takes from it. It ends after `seconds`."""

    def __init__(self, seconds: float, count: int = INPUTS) -> None:
        self.seconds = seconds
        self.count = count
        self.taken = self.ended = self.ahead = self.growth = self.checked = 0

    def __iter__(self) -> Iterator[str]:
        before, until = resident(), time.perf_counter() + self.seconds
        while self.taken < self.count and time.perf_counter() < until:
            self.taken += 1
            self.ahead = max(self.ahead, self.taken - self.ended)
            if self.taken % 4096 == 0:
                self.growth = max(self.growth, resident() - before)
            yield f"item-{self.taken:07d}"
        self.growth = max(self.growth, resident() - before)

    def keep(self, result: str) -> None:
        """Note a result. What it should be is known by its own number."""
        if result != double(result[: len(result) // 2]):
            raise AssertionError("a contender gave a wrong result")
        self.ended += 1


def value(of: str, contender: str, seconds: float, loop: str | None = None, **options: Any) -> float:
    """`of` is "growth" (MB of the parent) or "ahead" (inputs)."""
    module = importlib.import_module(f"bench.{contender}")
    watched = run_on(loop, watch_async, module, seconds, options) if loop else watch(module, seconds, options)
    if watched.ended != watched.taken:
        raise AssertionError(f"{watched.taken} inputs were taken and {watched.ended} answered")
    return watched.growth / 1e6 if of == "growth" else watched.ahead


def watch(module: Any, seconds: float, options: dict[str, Any]) -> Taken:
    with module.open_pool(**options) as run:
        for taken in warm_and_real(seconds):
            for result in run(iter(taken)):
                taken.keep(result)
    return taken


async def watch_async(module: Any, seconds: float, options: dict[str, Any]) -> Taken:
    async with module.open_pool(**options) as run:
        for taken in warm_and_real(seconds):
            await run(iter(taken), taken.keep)
    return taken


def warm_and_real(seconds: float) -> Iterator[Taken]:
    """A first load starts the workers and fills the allocator's own caches."""
    yield Taken(seconds, count=20_000)
    gc.collect()
    yield Taken(seconds)


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()
