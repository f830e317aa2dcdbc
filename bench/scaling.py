"""How cost grows: microseconds per input for a given number of inputs and of workers, 8 in flight each."""

import time

from bench.load import Measured
from bench.loops import run_on
from bench.ours.stack import open_pool
from bench.work import check, make_inputs


def value(inputs: int, workers: int, depth: int = 8, loop: str = "asyncio") -> float:
    """Microseconds per input through the whole stack, with workers that run already."""
    return 1e6 / run_on(loop, one_load, inputs, workers, depth).per_second


async def one_load(count: int, workers: int, depth: int) -> Measured:
    results: list[str] = []
    async with open_pool(workers=workers, talk="request", depth=depth) as run:
        await run(make_inputs(200 * workers), results.append)
        inputs = make_inputs(count)
        results.clear()
        started = time.perf_counter()
        await run(inputs, results.append)
        elapsed = time.perf_counter() - started
    check(inputs, results)
    return Measured(count, elapsed)
