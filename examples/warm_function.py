"""A plain Python function in child processes, with a table that each child loads once (see primes.py).

$ python examples/warm_function.py
largest prime below 1000: 997
largest prime below 10000: 9973
largest prime below 100000: 99991
largest prime below 1000000: 999983
"""

import sys
from pathlib import Path

import anyio

from worker_pool import WorkPool
from worker_spawn import function_worker

sys.path.insert(0, str(Path(__file__).parent))  # where primes.py is; children look where their parent looks


def primes() -> function_worker[int, int]:
    return function_worker("primes:largest_below", setup="primes:load")


async def main() -> None:
    limits = [10**3, 10**4, 10**5, 10**6]
    async with WorkPool(primes, max_size=2) as pool, pool.stream(limits, ordered=True) as outcomes:
        async for outcome in outcomes:
            print(f"largest prime below {outcome.input}: {outcome.unwrap()}")


if __name__ == "__main__":
    anyio.run(main)
