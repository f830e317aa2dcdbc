"""IterableSource: anything that can be iterated, as a source that consumers may share."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import anyio
from anyio import to_thread

from ._driven import CLEANUP_SECONDS, Consumer, Driven, finish
from ._errors import SourceClosed
from ._line import Line

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

T = TypeVar("T")

Items: TypeAlias = Iterable[T] | AsyncIterable[T]

END: Any = object()


class IterableSource(Driven[T]):
    """What `items` yields, until it is exhausted, each item to exactly one consumer.

        source = IterableSource(range(3))                    # or a generator function, an async iterable, a file, ...
        async for number in source: ...

    `items`: an iterable or async iterable, or a function without arguments that returns one, such as a generator
    function. It is asked for an item only when a consumer wants one: nothing is read ahead.

    `threaded`: ask in a thread, one item at a time. For iterators that block: a file on a slow disk, a cursor. Nothing
    can interrupt a `next()` that blocks: without `async with`, leaving waits until the thread comes back; with it the
    thread is left behind, and on asyncio the interpreter waits for it at its exit.

    **Sharing.** `async with source:` gives the iterator one owner, for one pass over it. Inside, any number of tasks
    may consume, and one that is cancelled while it waits neither loses an item nor ends the iteration for the
    others; leaving finishes the generator. Without it, whoever asks drives: fine for the one loop that consumes
    it all. Two are then served in turn; but cancelling one inside an async generator finalises that generator, and
    the others get `SourceClosed` instead of a wrong end.

    **Again.** If `items` can be iterated again so can the source: an `aiter()` or `async with` after the end begins
    a new pass, unless the source was closed. An error in `items` ends the pass and reaches each consumer once per
    iterator.
    """

    def __init__(self, items: Items[T] | Callable[[], Items[T]], *, threaded: bool = False) -> None:
        super().__init__()
        self._source = items
        self._threaded = threaded
        self._plain: Iterator[T] | None = None  # the pass under way is one of these two
        self._async: AsyncIterator[T] | None = None
        self._entered = False
        self._one_at_a_time = anyio.Lock(fast_acquire=True)
        self._asking: anyio.CancelScope | None = None  # of who drives, where nobody owns the iterator
        self._limiter = anyio.CapacityLimiter(1)  # a blocked iterator must not use up the program's other threads
        if not _is_iterable(items) and not callable(items):
            raise TypeError(f"items must be iterable, async iterable or a function that returns one, got {items!r}")

    @property
    def total(self) -> int | None:
        """How many items there are in a pass, if `items` has a length."""
        source: object = self._source
        return len(source) if isinstance(source, Sized) else None

    def receive_nowait(self) -> T:
        """Take the next item of a plain iterable. Raises `anyio.WouldBlock` if it has to be waited for."""
        if self._items or self._line.closed:
            return super().receive_nowait()
        if not self._started:
            self._begin()
        if self._plain is None or self._threaded:
            raise anyio.WouldBlock
        try:
            item = next(self._plain, END)
        except Exception as error:
            self._line.close(error)
            raise
        if item is END:
            self._line.close()
            raise anyio.EndOfStream
        return cast("T", item)

    async def receive(self) -> T:
        """Take the next item. Raises `anyio.EndOfStream` at the end, or the error that ended the iteration."""
        if self._group is not None:
            return await super().receive()
        if self._line.turns > 1:
            self._line.turns -= 1
        else:
            await self._line.turn()
        try:
            return self.receive_nowait()
        except anyio.WouldBlock:
            line = self._line
            line.check_thread()
            line.asking += 1
            try:
                async with self._one_at_a_time:
                    with anyio.CancelScope() as self._asking:
                        return await self._receive_directly()
                    raise anyio.EndOfStream  # it was closed meanwhile
            finally:
                line.asking -= 1

    def close(self) -> None:
        """See `Driven.close`. Who waits for the iterator waits no more."""
        super().close()
        if self._asking is not None:
            self._asking.cancel()

    def __aiter__(self) -> AsyncIterator[T]:
        if not self._entered and self._line.closed and not self._is_spent():
            self._begin()
        return Consumer(self)

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("the source is entered already: `async with` it once, and share it inside")
        self._entered = True
        if not self._is_spent():
            self._begin()
            if self._plain is None or self._threaded:
                await self._drive([(self._plain or self._async, self._pull)])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        is_driven = self._group is not None
        await super().__aexit__(kind, error, trace)
        if not is_driven:
            with anyio.move_on_after(CLEANUP_SECONDS, shield=True):
                await finish(self._plain or self._async)

    @property
    def _started(self) -> bool:
        return self._plain is not None or self._async is not None

    def _is_spent(self) -> bool:
        return self._closed or (self._line.closed and (self._source is self._plain or self._source is self._async))

    def _begin(self) -> None:
        items = self._source if _is_iterable(self._source) else _call(self._source)
        self._line = Line()
        self._items = self._line.items
        self._plain = self._async = None
        if isinstance(items, AsyncIterable):
            self._async = aiter(cast("AsyncIterable[T]", items))
        else:
            self._plain = iter(cast("Iterable[T]", items))

    async def _receive_directly(self) -> T:
        if self._items or self._line.closed:
            return super().receive_nowait()
        try:
            return await self._pull()
        except StopAsyncIteration:
            self._line.close()
            raise anyio.EndOfStream from None
        except Exception as error:
            self._line.close(error)
            raise
        finally:
            if inspect.isasyncgen(self._async) and self._async.ag_frame is None:
                self._line.close(SourceClosed("cancelled inside the generator; share it with `async with source`"))

    async def _pull(self) -> T:
        if self._async is not None:
            return await anext(self._async)
        assert self._plain is not None
        if self._group is None:
            item = await self._next_in_thread(self._plain)
        else:  # driven by our own task the thread may be left behind: it is busy, and leaving must not wait for it
            item = await to_thread.run_sync(next, self._plain, END, limiter=self._limiter, abandon_on_cancel=True)
        if item is END:
            raise StopAsyncIteration
        return cast("T", item)

    async def _next_in_thread(self, plain: Iterator[T]) -> Any:
        """Wait for the thread also when cancelled, natively too, and keep what it brings for the next consumer."""
        results: list[tuple[Any, Exception | None]] = []

        async def ask() -> None:
            try:
                results.append((await to_thread.run_sync(next, plain, END, limiter=self._limiter), None))
            except Exception as error:
                results.append((END, error))

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
        except BaseException:
            for item, error in results:
                if item is END:
                    self._line.close(error)
                else:
                    self._line.put_first(item)
            raise
        [(item, error)] = results
        if error is not None:
            raise error
        return item


def _is_iterable(items: object) -> bool:
    return isinstance(items, (Iterable, AsyncIterable))


def _call(function: Any) -> object:
    items = function()
    if not _is_iterable(items):
        raise TypeError(f"{function!r} must return an iterable or async iterable, got {items!r}")
    return items
