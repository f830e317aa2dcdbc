"""The outcomes of one call, to be looked at one by one."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ._engine import Engine
    from ._feeds import Feed
    from ._outcome import Outcome, Summary

In = TypeVar("In")
Out = TypeVar("Out")


class OutcomeStream(Generic[In, Out]):
    """An async iterator of outcomes, from `pool.stream`. Enter it, then iterate.

    Inputs are taken from its source from when it is entered, as workers are free, and at most twice as many as the
    pool has slots before their outcomes are looked at: a slow consumer slows the source. It ends after the last
    outcome. `PoolBroken` and what the source itself raised come then, once, bare. Leaving it early, by `break`,
    error or cancellation, cancels the inputs that still run and waits until they have let go.
    """

    def __init__(self, engine: Engine, source: Any, ordered: bool) -> None:
        self._engine = engine
        self._source = source
        self._ordered = ordered
        self._ready: deque[Outcome[In, Out]] = deque()
        self._early: dict[int, Outcome[In, Out] | None] = {}  # ordered: those before whose turn it is
        self._next = 1
        self._wake = anyio.Event()
        self._has_ended = False
        self._feed: Feed | None = None

    async def __aenter__(self) -> Self:
        if self._feed is not None:
            raise RuntimeError("a stream can be entered once")
        self._feed = self._engine.open(self._source, self)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        feed = self._opened()
        self._early.clear()
        while self._ready:
            self._ready.popleft()
            feed.consumed()
        self._next = -1
        await self._engine.leave(feed)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[In, Out]:
        feed = self._opened()
        if not self._ready and not self._has_ended:
            await checkpoint()  # most often it is there then, and that is cheaper than to be woken
        while not self._ready:
            if self._has_ended:
                error, feed.error = feed.error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            with self._engine.nested():
                await self._wake.wait()
        outcome = self._ready.popleft()
        if not self._ready and not self._has_ended:
            self._wake = anyio.Event()
        feed.consumed()
        return outcome

    @property
    def summary(self) -> Summary:
        """The counts so far, without the failures themselves."""
        return self._opened().summary()

    def put(self, index: int, outcome: Outcome[In, Out] | None) -> None:
        """Take an outcome from the feed. Not for users."""
        if self._next < 0:  # nobody looks any more
            self._opened().consumed()
        elif not self._ordered:
            self._show(outcome)
        else:
            self._early[index] = outcome
            while self._next in self._early:
                self._show(self._early.pop(self._next))
                self._next += 1

    def end(self) -> None:
        """There will be no more. Not for users."""
        self._has_ended = True
        self._wake.set()

    def _show(self, outcome: Outcome[In, Out] | None) -> None:
        if outcome is None:
            self._opened().consumed()
        else:
            self._ready.append(outcome)
            self._wake.set()

    def _opened(self) -> Feed:
        if self._feed is None:
            raise RuntimeError("enter the stream first: async with pool.stream(source) as outcomes")
        return self._feed
