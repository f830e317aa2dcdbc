"""How much to ask of a contender, and how long it took: a load that fits the time, checked result by result.

Loads grow until one lasts long enough to be a measurement; the small ones before it warm the pool. So the slowest
contender takes no longer than the fastest, and nobody's first start is in the figures.
"""

import gc
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from bench.work import check, make_inputs

Run = Callable[[Iterable[str]], Iterable[str]]
AsyncRun = Callable[[Iterable[str], Callable[[str], object]], Awaitable[object]]

FIRST = 64
MOST = 1_000_000  # a list of inputs and one of results have to fit the memory of a small machine


@dataclass(frozen=True, slots=True)
class Measured:
    """One load: how many inputs, in how many seconds."""

    inputs: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.inputs / self.seconds


def measure(run: Run, seconds: float) -> Measured:
    """Warm `run` up, then measure one load of about `seconds`."""
    count = FIRST
    while True:
        inputs = make_inputs(count)
        gc.collect()
        started = time.perf_counter()
        results = list(run(inputs))
        measured = Measured(count, time.perf_counter() - started)
        check(inputs, results)
        if is_enough(measured, seconds):
            return measured
        count = larger(measured, seconds)


async def measure_async(run: AsyncRun, seconds: float) -> Measured:
    """`measure` for an async `run`."""
    count = FIRST
    while True:
        inputs = make_inputs(count)
        gc.collect()
        results: list[str] = []
        started = time.perf_counter()
        await run(inputs, results.append)
        measured = Measured(count, time.perf_counter() - started)
        check(inputs, results)
        if is_enough(measured, seconds):
            return measured
        count = larger(measured, seconds)


def is_enough(measured: Measured, seconds: float) -> bool:
    """The first load only starts the workers, however long that takes."""
    return measured.inputs > FIRST and (measured.seconds >= seconds / 2 or measured.inputs >= MOST)


def larger(measured: Measured, seconds: float) -> int:
    """The next load, at most 16 times the last one, whose speed was mostly that of a cold start."""
    return min(MOST, 16 * measured.inputs, max(2 * measured.inputs, int(measured.per_second * seconds)))
