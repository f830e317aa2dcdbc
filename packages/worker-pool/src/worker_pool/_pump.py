"""The pump of a feed: the one task that awaits its source. And how a source is told from another."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from ._events import log
from ._foreign import is_failure, is_survivable, told_of_source
from ._job import Job

if TYPE_CHECKING:
    from ._feeds import Feed

Fetch = Callable[[int], Awaitable[Sequence[Job]]]


class Pump:
    """Fetches at most what is wanted, and sleeps while nothing is."""

    def __init__(
        self, feed: Feed, fetch: Fetch, close: Callable[[], Awaitable[object]] | None, patience: float
    ) -> None:
        self._feed = feed
        self._fetch = fetch
        self._close = close
        self._patience = patience  # how long a fetch may go on when it is to stop; 0: it is cancelled
        self._scope = anyio.CancelScope()
        self._closing = anyio.CancelScope()  # inside the other; a shield, and a limit, while the source is closed

    def stop(self) -> None:
        """End soon. What a generator has open around its `yield` is not cancelled: it is closed from inside."""
        self._feed.poke()
        if self._feed.is_fetching:
            self._scope.deadline = min(self._scope.deadline, anyio.current_time() + self._patience)
            if not self._patience:
                self._scope.cancel()

    async def run(self) -> None:
        """Fetch until the source ends, raises, or nothing is wanted any more."""
        error: BaseException | None = None
        try:
            with self._scope, self._closing:
                self._feed.engine.demand.thirsty(self._feed)
                try:
                    await self._run()
                except (StopAsyncIteration, anyio.EndOfStream):
                    pass
                except BaseException as exc:
                    if not is_failure(exc):
                        raise
                    error = told_of_source(exc)
                finally:
                    await self._close_source()
        except Exception as exc:
            error = error or exc
        finally:
            self._feed.pump_ended(error)

    async def _run(self) -> None:
        feed = self._feed
        while not feed.is_ended:
            wanted = feed.wanted()
            if not wanted:
                await checkpoint()  # a slot that becomes free in this turn is cheaper than to be woken for it
                wanted = feed.wanted()
            if wanted:
                with feed.fetching(wanted):
                    jobs = await self._fetch(wanted)
                for job in jobs:
                    feed.accept(job)
                if not jobs:
                    await checkpoint()  # a source that answers at once, with nothing, is not to stop all others
            elif not feed.is_ended:  # it may have ended in that turn
                await feed.starve()

    async def _close_source(self) -> None:
        if self._close is None:
            return
        # In no scope of its own: a generator may have left one open where it yielded, which is closed here.
        self._closing.shield = True
        self._closing.deadline = anyio.current_time() + self._feed.engine.options.destroy_timeout
        try:
            await self._close()
        except BaseException as error:
            if not is_survivable(error):
                raise
            # The end of a generator that is closed, as a task group around its `yield` wraps it, is no error.
            group: Any = error
            if not (isinstance(error, BaseExceptionGroup) and group.split(GeneratorExit)[1] is None):
                log.exception("closing the source raised")


def pulls(source: Any) -> Callable[[], Any] | None:
    """Return what takes an input from `source` at once, or None if its inputs must be awaited."""
    pull: Callable[[], Any] | None = None
    if hasattr(source, "receive_nowait"):
        pull = source.receive_nowait
    elif isinstance(source, Iterator):
        pull = source.__next__
    elif hasattr(source, "__iter__") and not hasattr(source, "__aiter__"):
        pull = iter(source).__next__
    return pull


def pump_for(feed: Feed, source: Any) -> Pump | None:
    """Return the pump that `source` needs, if any.

    An async generator is closed when the call ends: nobody else could. Other iterators are left as they are.
    """
    if hasattr(source, "receive_nowait"):
        receive: Callable[[], Awaitable[Any]] = source.receive if hasattr(source, "receive") else source.__anext__
        return Pump(feed, _one_by_one(feed, receive), None, 0)
    if hasattr(source, "__aiter__") or hasattr(source, "__anext__"):
        iterator: AsyncIterator[Any] = source if hasattr(source, "__anext__") else source.__aiter__()
        close = iterator.aclose if inspect.isasyncgen(iterator) else None
        return Pump(feed, _one_by_one(feed, iterator.__anext__), close, 0)
    return None


def resolve(source: Any) -> Any:
    """Call a generator function (or anything else that returns a source); refuse what is no source."""
    if callable(source) and not _is_source(source):
        source = source()
    if not _is_source(source):
        raise TypeError(
            "a source must be an iterable, an async iterable, a function that returns one, or have `receive`, "
            f"got {source!r}"
        )
    if hasattr(source, "receive_nowait") and hasattr(source, "__aiter__"):
        iterator: Any = source
        return iterator.__aiter__()  # most are their own iterator; the others begin anew here, for this call
    return source


def _is_source(source: Any) -> bool:
    names = ("__iter__", "__aiter__", "__next__", "__anext__", "receive_nowait", "renew")
    return not isinstance(source, type) and any(hasattr(source, name) for name in names)


def _one_by_one(feed: Feed, receive: Callable[[], Awaitable[Any]]) -> Fetch:
    async def fetch(_: int) -> Sequence[Job]:
        item = await receive()
        return (Job(feed, item, feed.taken + 1, perf_counter()),)

    return fetch
