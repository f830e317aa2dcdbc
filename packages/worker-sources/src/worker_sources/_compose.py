"""Small pieces that compose: each takes an async iterable and is one.

    async with merge(uploads, rescans) as both:
        await pool.process(throttle(both, rate=10))

They hold no tasks (`merge` does, inside its `async with`), so there is nothing to close. Each asks its source for an
item only when it is asked for one, and any number of consumers may share a piece if they may share its source.
They compose *values*: put them in front of a durable source, not behind it, where they would hide the
acknowledgements from the pool.
"""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

import anyio

from ._driven import Driven
from ._line import Baton, Line

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")
R = TypeVar("R")


def merge(*sources: AsyncIterable[T]) -> Merged[T]:
    """Items of all `sources`, each as it comes; the end is the end of the last.

    `async with merge(a, b) as both:` owns one task for each source, so that the consumer may be cancelled without
    harm. At most one item per source is taken before somebody asked for it. An error of one source ends the whole,
    after the items that came before it. Leaving stops asking; it closes no source, only generators.
    """
    return Merged(*sources)


def throttle(source: AsyncIterable[T], rate: float, *, per: float = 1.0) -> AsyncIterator[T]:
    """No more than `rate` items in `per` seconds, evenly spaced, however many consumers share it.

    It errs on the side of fewer: a timer that is late, by a tenth of a millisecond or two, is not made up for.
    It waits *before* it takes an item, never with it: cancelled, it has taken nothing, and who asks next waits no
    longer for it.
    """
    if not rate > 0 or not per > 0:
        raise ValueError(f"rate and per must be positive, got {rate} and {per}")
    return _Throttled(source, per / rate)


def batched(source: AsyncIterable[T], size: int, timeout: float | None = None) -> AsyncIterator[list[T]]:
    """Lists of `size` items; the last may be shorter.

    `timeout`: hand out what there is so many seconds after the first item of a batch. It ends a wait for the source
    by cancelling it, which kills a generator: wrap that in an `IterableSource` and enter it. A consumer that is
    cancelled leaves what it had collected to the next, and the time that it has waited.
    """
    if size < 1:
        raise ValueError(f"size must be 1 or more, got {size}")
    if timeout is not None and _is_over_generator(source):
        raise TypeError("a generator does not survive a timeout: `async with IterableSource(generator) as items`")
    return _Batched(source, size, math.inf if timeout is None else timeout)


@overload
def mapped(source: AsyncIterable[T], function: Callable[[T], Awaitable[R]]) -> AsyncIterator[R]: ...
@overload
def mapped(source: AsyncIterable[T], function: Callable[[T], R]) -> AsyncIterator[R]: ...
def mapped(source: AsyncIterable[T], function: Callable[[T], Any]) -> AsyncIterator[Any]:
    """`function(item)` for each item, sync or async. Cancelled inside it, the item goes to whoever asks next."""
    return _Mapped[T, Any](source, function)


def limited(source: AsyncIterable[T], count: int) -> AsyncIterator[T]:
    """The first `count` items. The one after them is never asked for.

    The end is when `count` items were received: a consumer that finds all of them being waited for by others waits
    too, to take the place of one that is cancelled.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    return _Limited(source, count)


class Merged(Driven[T]):
    """Made by `merge`."""

    def __init__(self, *sources: AsyncIterable[T]) -> None:
        super().__init__()
        for source in sources:
            _refuse_plain(source)
        self._sources = sources

    @property
    def total(self) -> int | None:
        """How many items there are in all, if every source knows."""
        totals = [_total(source) for source in self._sources]
        return None if None in totals else sum(cast("list[int]", totals))

    async def receive(self) -> T:
        """Take the next item; see `QueueSource.receive`."""
        if self._group is None and not self._line.closed:
            raise RuntimeError("merge needs an owner: `async with merge(...) as items`")
        return await super().receive()

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise RuntimeError("merge is entered already: `async with` it once, and share it inside")
        iterators = [aiter(source) for source in self._sources]
        await self._drive([(iterator, partial(anext, iterator)) for iterator in iterators])
        return self


class _Piece(Generic[T, R], AsyncIterator[R]):
    def __init__(self, source: AsyncIterable[T]) -> None:
        _refuse_plain(source)
        self._source = source
        self._iterator = aiter(source)
        self.is_over_generator: bool = _is_over_generator(source)

    @property
    def total(self) -> int | None:
        """How many items there are in all, if the source knows."""
        return _total(self._source)


def _is_over_generator(source: object) -> bool:
    """Tell whether cancelling a wait for `source` would end a generator."""
    return source.is_over_generator if isinstance(source, _Piece) else inspect.isasyncgen(source)


class _Throttled(_Piece[T, T]):
    def __init__(self, source: AsyncIterable[T], interval: float) -> None:
        super().__init__(source)
        self._interval = interval
        self._next = -math.inf
        self._one_at_a_time = Baton()

    async def __anext__(self) -> T:
        async with self._one_at_a_time:  # two at once would both go by the item before
            now = anyio.current_time()
            await anyio.sleep_until(min(self._next, now + self._interval))  # the clock of another run may be far behind
            item = await anext(self._iterator)
            self._next = anyio.current_time() + self._interval  # only an item counts, and from when it came
            return item


class _Batched(_Piece[T, list[T]]):
    def __init__(self, source: AsyncIterable[T], size: int, timeout: float) -> None:
        super().__init__(source)
        self._size = size
        self._timeout = timeout
        self._batch: list[T] = []
        self._due = math.inf  # when the batch has waited long enough: counted from its first item
        self._error: Exception | None = None
        self._one_at_a_time = Baton()

    @property
    def total(self) -> int | None:
        """How many batches there are, if the source knows and all will be full."""
        total = _total(self._source)
        return None if total is None or self._timeout < math.inf else math.ceil(total / self._size)

    async def __anext__(self) -> list[T]:
        async with self._one_at_a_time:  # two collecting at once would share the items of one batch
            with anyio.CancelScope() as waiting:
                if self._batch:  # left by a consumer that was cancelled, perhaps in a run with another clock
                    waiting.deadline = min(self._due, anyio.current_time() + self._timeout)
                while len(self._batch) < self._size and self._error is None:
                    try:
                        self._batch.append(await anext(self._iterator))
                    except (StopAsyncIteration, Exception) as error:
                        self._error = error
                    if len(self._batch) == 1:
                        waiting.deadline = self._due = anyio.current_time() + self._timeout
            return self._hand_out()

    def _hand_out(self) -> list[T]:
        batch, self._batch = self._batch, []
        if not batch:
            assert self._error is not None  # nothing was collected, and the time runs only once something was
            error, self._error = self._error, StopAsyncIteration()
            raise error
        return batch


class _Mapped(_Piece[T, R]):
    def __init__(self, source: AsyncIterable[T], function: Callable[[T], Any]) -> None:
        super().__init__(source)
        self._function = function
        self._returned: deque[T] = deque()

    async def __anext__(self) -> R:
        item = await self._next()
        try:
            result = self._function(item)
            return cast("R", await result if inspect.isawaitable(result) else result)
        except anyio.get_cancelled_exc_class():
            self._returned.append(item)
            raise

    async def _next(self) -> T:
        if not self._returned:
            try:
                return await anext(self._iterator)
            except StopAsyncIteration:
                if not self._returned:  # what another consumer returned while we waited comes before the end
                    raise
        return self._returned.popleft()


class _Limited(_Piece[T, T]):
    def __init__(self, source: AsyncIterable[T], count: int) -> None:
        super().__init__(source)
        self._count = count
        self._left = count  # places that nobody has tried yet
        self._received = 0
        self._given_back: Line[None] = Line()  # places whose try was cancelled or failed

    @property
    def total(self) -> int | None:
        """How many items there are in all, if the source knows."""
        total = _total(self._source)
        return None if total is None else min(total, self._count)

    async def __anext__(self) -> T:
        self._given_back.check_thread()
        await self._take_place()
        self._given_back.asking += 1
        try:
            item = await anext(self._iterator)
        except BaseException:
            self._given_back.put(None)
            raise
        finally:
            self._given_back.asking -= 1
        self._received += 1
        if self._received == self._count:
            self._given_back.close()
        return item

    async def _take_place(self) -> None:
        if self._received == self._count:
            raise StopAsyncIteration
        if self._left:
            self._left -= 1
            return
        try:
            await self._given_back.take()  # all places are being tried: it is not the end before all have succeeded
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


def _total(source: object) -> int | None:
    return getattr(source, "total", None)


def _refuse_plain(source: object) -> None:
    if not isinstance(source, AsyncIterable):
        kind, is_plain = type(source).__name__, isinstance(source, Iterable)
        cure = ": wrap it in IterableSource([...])" if is_plain else ""
        raise TypeError(f"{kind!r} object is not an async iterable{cure}")
