"""The outcomes of one call, to be looked at one by one."""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from ._nesting import nested

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ._engine import Engine
    from ._feeds import Feed
    from ._outcome import Outcome, Summary

QUICK = 0.001  # seconds from one wait of the consumer to the next, ...
WIDEST = 64  # ... within which so many inputs may be taken ahead of it, even if there are fewer slots

In = TypeVar("In")
Out = TypeVar("Out")


class OutcomeStream(Generic[In, Out]):
    """An async iterator of outcomes, from `pool.stream`. Enter it, then iterate.

    Inputs are taken from its source from when it is entered, as workers are free, and at most twice as many as the
    workers have at once before their outcomes are looked at: a slow consumer slows the source. (If the consumer
    comes back within a millisecond, an unordered stream takes up to 64.) It ends after the last outcome. `PoolBroken`
    and what the source itself raised come then, once, bare. A shutdown of the pool ends it early, without a word: what
    has no outcome is counted in `Summary.unfinished`, or went back to its source. Leaving it early, by `break`, error
    or cancellation, cancels the inputs that still run and waits until they have let go.
    """

    def __init__(self, engine: Engine, source: Any, ordered: bool) -> None:
        self._engine = engine
        self._source = source
        self._ordered = ordered
        self._ready: deque[Outcome[In, Out]] = deque()
        self._early: dict[int, Outcome[In, Out] | None] = {}  # ordered: those before whose turn it is
        self._next = 1
        self._wake: anyio.Event | None = None
        self._is_left = False
        self._waited = 0.0  # when it was waited for an outcome
        self._has_ended = False
        self._feed: Feed | None = None

    async def __aenter__(self) -> Self:
        if self._feed is not None:
            raise RuntimeError("a stream can be entered once")
        self._feed = self._engine.feed(self._source, self)
        self._feed.window = 2 * self._engine.reach
        self._engine.begin(self._feed)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        feed = self._opened()
        self._is_left = True
        if not feed.finished.is_set():
            feed.drop_unstarted()  # first: what is thrown away makes room, and nothing is to be started in it
        self._throw_away()
        for _ in range(len(self._early)):
            feed.consumed()
        self._early.clear()
        await self._engine.leave(feed)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[In, Out]:
        feed = self._feed or self._opened()
        ready = self._ready
        if not ready:
            await self._wait(feed)
        outcome = ready.popleft()
        feed.consumed()
        return outcome

    async def _wait(self, feed: Feed) -> None:
        """Wait for an outcome, or raise what there is to raise at the end."""
        if not self._has_ended:
            self._engine.home.check_here()
            self._adapt(feed)
            await checkpoint()  # most often it is there then, and that is cheaper than to be woken
        while not self._ready:
            if self._has_ended:
                error, feed.error = feed.error, None
                raise error or StopAsyncIteration
            if self._wake is None:
                self._wake = anyio.Event()
            with nested(self._engine):
                await self._wake.wait()

    def _adapt(self, feed: Feed) -> None:
        """Take twice as many ahead as the workers have at once, by what is known of them now.

        Unordered, take more while windows pass so quickly that turns of the event loop are what they cost.
        """
        now = perf_counter()
        is_quick, self._waited = now - self._waited < QUICK and not self._ordered, now
        feed.widen(max(2 * self._engine.reach, min(2 * feed.window, WIDEST) if is_quick else 0))

    @property
    def summary(self) -> Summary:
        """The counts so far, without the failures themselves."""
        return self._opened().summary()

    def put(self, index: int, outcome: Outcome[In, Out] | None) -> None:
        """Take an outcome from the feed. Not for users."""
        if not self._ordered and outcome is not None:
            self._ready.append(outcome)
        elif self._is_left or not self._ordered:
            self._opened().consumed()
        else:
            self._early[index] = outcome
            while self._next in self._early:
                outcome = self._early.pop(self._next)
                self._next += 1
                if outcome is None:
                    self._opened().consumed()
                else:
                    self._ready.append(outcome)
        if self._wake is not None and self._ready:
            self._alert()
        if self._is_left:
            self._throw_away()

    def end(self) -> None:
        """There will be no more. Not for users."""
        self._has_ended = True
        self._alert()

    def _alert(self) -> None:
        if self._wake is not None:
            self._wake.set()
            self._wake = None

    def _throw_away(self) -> None:
        """Nobody looks any more: as if all had been looked at."""
        feed = self._opened()
        while self._ready:
            self._ready.popleft()
            feed.consumed()

    def _opened(self) -> Feed:
        if self._feed is None:
            raise RuntimeError("enter the stream first: async with pool.stream(source) as outcomes")
        return self._feed
