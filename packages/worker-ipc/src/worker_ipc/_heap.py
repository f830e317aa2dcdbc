"""Large messages without the price of fresh memory.

glibc takes a large block from the system, and gives it back when it is freed: a message of a megabyte that is built,
sent and forgotten costs 250 page faults each time, up to forty times as long as building it. But it remembers the
largest block that was ever given back, up to 32 MiB, and keeps smaller ones from then on (mallopt(3), "dynamic mmap
threshold"). So one untouched block, made and freed once, is all it takes. Elsewhere that has no effect.
"""

from __future__ import annotations

LARGE = 64 * 1024
"""Bytes of a message from which on it matters."""

_BLOCK = 8 * 2**20
_done = False


def keep_large_blocks() -> None:
    """Tell the allocator to keep blocks below 8 MiB. Only the first call does anything."""
    global _done
    if not _done:
        _done = True
        bytes(_BLOCK)
