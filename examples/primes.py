"""The functions of warm_function.py: an ordinary module, imported once in each child.

It is no example by itself: run `python examples/warm_function.py`, whose children import it.
"""

from bisect import bisect_right

_table: list[int] = []


def load() -> None:
    """Build the table once per child; every call afterwards finds it warm."""
    sieve = bytearray([1]) * 1_000_001
    for n in range(2, 1001):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(sieve[n * n :: n]))
    _table.extend(n for n in range(2, len(sieve)) if sieve[n])


def largest_below(limit: int) -> int:
    """Return the largest prime that is not above `limit`."""
    return _table[bisect_right(_table, limit) - 1]
