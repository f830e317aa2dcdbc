"""The one clock of a pool: execution deadlines, idle workers, and whatever else is due later.

One task per pool. What it watches is asked `check(now)`: end what is overdue, and say when to look again. So a
deadline costs an input nothing: it notes when it began, which it does anyway.
"""

from __future__ import annotations

import heapq
import itertools
import math
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable


class Watched(Protocol):
    """Something with deadlines."""

    def check(self, now: float) -> float:
        """End what is overdue; return when the next thing will be, or infinity."""
        ...


class Watchdog:
    """See above. Between looks it sleeps for as long as nothing can be due."""

    def __init__(self) -> None:
        self.watched: set[Watched] = set()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._until = math.inf
        self._is_stopped = False
        self._wake = anyio.Event()

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        """Call `function()` in `delay` seconds."""
        when = perf_counter() + delay
        heapq.heappush(self._timers, (when, next(self._numbers), function))
        self.expect(when)

    def expect(self, when: float) -> None:
        """Something may be due at `when`: look then, if not before."""
        if when < self._until:
            self._until = when
            self._wake.set()

    async def run(self) -> None:
        """Watch until `stop`."""
        while not self._is_stopped:
            self._wake = anyio.Event()
            self._until = math.inf  # what is expected from here on may be due before all that was looked at
            self._until = min(self._look(perf_counter()), self._until)
            with anyio.move_on_after(max(0.0, self._until - perf_counter())):
                await self._wake.wait()

    def stop(self) -> None:
        """Look no more."""
        self._is_stopped = True
        self._wake.set()

    def _look(self, now: float) -> float:
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        due = min((one.check(now) for one in tuple(self.watched)), default=math.inf)
        return min(due, self._timers[0][0]) if self._timers else due
