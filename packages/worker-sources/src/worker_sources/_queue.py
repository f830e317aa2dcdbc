"""QueueSource: a queue that somebody fills while somebody else works it off."""

from __future__ import annotations

import math
from typing import TypeVar

from ._errors import QueueFull, SourceClosed
from ._line import Place
from ._memory import MemorySource

T = TypeVar("T")


class QueueSource(MemorySource[T]):
    """An endless source until it is closed, for any number of producers and consumers of one event loop.

        source = QueueSource[str](maxsize=100)
        await source.put("a")              # waits while all 100 places are taken
        source.close()                     # what is queued drains, then every `async for item in source` ends

    Each item, `None` included, goes to exactly one consumer. Items keep the order in which `put` was called, and
    producers, like consumers, are served in the order in which they came.

    `maxsize`: the number of places; 0 is no limit, for when the producer is bounded by something else.
    """

    def __init__(self, maxsize: int = 0) -> None:
        if maxsize < 0:
            raise ValueError(f"maxsize must be 0 (no limit) or more, got {maxsize}")
        super().__init__()
        self._maxsize = maxsize
        self._places = maxsize or math.inf
        self._reserved = 0  # places given to producers that have not run since: one, or at the close all
        self._count = 0

    @property
    def maxsize(self) -> int:
        """The number of places; 0 is no limit."""
        return self._maxsize

    @property
    def total(self) -> int | None:
        """How many items there were in all: known once the source is closed, None before."""
        return self._count if self._line.closed else None

    def put_nowait(self, item: T) -> None:
        """Add an item without waiting. Raises `QueueFull`, or `SourceClosed`; the item is still yours then.

        It is full too while a producer that came before has its place, and has not put its item there yet.
        """
        if self._line.closed:
            raise SourceClosed
        if self._reserved or len(self._items) >= self._places:
            raise QueueFull(self._maxsize)
        self._line.put(item)
        self._count += 1

    async def put(self, item: T) -> None:
        """Add an item, waiting for a place if need be.

        Cancelled, it has added nothing. Raises `SourceClosed` if the source is closed, also while it waits; the
        item is still yours then.
        """
        line = self._line
        if line.turns > 1:
            line.turns -= 1
        else:
            await line.turn()
        waits = self._reserved or len(self._items) >= self._places  # whoever is blocked or admitted came before
        if waits:
            await self._wait_for_place()
        if line.closed:
            raise SourceClosed
        line.put(item)
        self._count += 1
        if waits:
            self._admit()

    def close(self) -> None:
        """Take nothing more: blocked producers get `SourceClosed` and keep their item. What is queued drains."""
        super().close()
        while self._line.blocked:
            self._admit_next()

    async def _wait_for_place(self) -> None:
        if self._line.closed:
            return
        line = self._line
        line.check_thread()
        place = Place[None]()
        line.blocked.append(place)
        line.asking += 1  # until it runs, also when it no longer stands in line: it wakes the next one in this thread
        try:
            await place.event.wait()
        except BaseException:
            if place.given is None:
                line.blocked.remove(place)
            else:
                self._reserved -= 1
                self._admit()
            raise
        finally:
            line.asking -= 1
        self._reserved -= 1

    def _taken(self, item: T) -> None:
        if self._line.blocked:
            try:
                self._line.check_thread()
            except RuntimeError:
                self._items.appendleft(item)
                raise
            self._admit()

    def _admit(self) -> None:
        # One at a time: trio runs those that are woken together in any order, and each admits the next.
        if self._line.blocked and not self._reserved and len(self._items) < self._places:
            self._admit_next()

    def _admit_next(self) -> None:
        # The producer keeps its item until it runs: cancelled before that it has put nothing, whatever we did here.
        self._reserved += 1
        self._line.blocked.popleft().give(None)
