"""How long the lists may be that a worker gets which runs its inputs one after another.

What waits behind the first input could run elsewhere, so a list holds only as many as take `QUANTUM` seconds by what
was measured: one at the beginning, twice as many at most as before, and fewer at once.
"""

from __future__ import annotations

import math

QUANTUM = 0.001  # seconds of work in one list: long beside a message (20 us), short beside what anybody notices


class Pace:
    """`target` is how many inputs the next list may hold; never more than `longest`."""

    def __init__(self, longest: int) -> None:
        self.target: int = 1
        self._longest = longest
        self._seconds = math.inf  # per input
        self._ended = 0.0  # when the last list had ended

    def list_ended(self, count: int, began: float, now: float) -> None:
        """Learn from a list of `count` inputs; it `began` when it was sent, or when the one before it had ended."""
        seconds = (now - max(began, self._ended)) / count
        self._ended = now
        self._seconds = max(seconds, (min(self._seconds, 1.0) + seconds) / 2, 1e-7)
        self.target = max(1, min(self._longest, self.target * 2, int(QUANTUM / self._seconds)))

    def was_wrong(self) -> None:
        """An input was given back: it is slower than was measured, and is not to come back to wait in another list."""
        self.target = 1
