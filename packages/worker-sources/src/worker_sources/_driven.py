"""Driving iterators on behalf of consumers: one task owns each iterator, and pulls only when somebody asks.

Cancelling the `anext` of an async generator finalises the generator: whoever drives it must not be somebody who may
be cancelled alone. So inside `async with`, a task of ours drives, and consumers only wait in line. That task captures
what an iterator raises and ends the line with it; it never fails itself, so no exception group is ever made of it.
"""

from __future__ import annotations

import inspect
import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from ._errors import SourceClosed
from ._line import Line
from ._memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from anyio.abc import TaskGroup

T = TypeVar("T")

# A generator's `finally` may wait for something. It gets this many seconds, then it is cancelled: leaving must end.
CLEANUP_SECONDS = 5


class Consumer(Generic[T]):
    """One consumer's iterator over a shared source: an error reaches it once, and after that there is nothing."""

    def __init__(self, source: MemorySource[T]) -> None:
        self._source = source
        self._failed = False

    def receive_nowait(self) -> T:
        """See `MemorySource.receive_nowait`."""
        if self._failed:
            raise anyio.EndOfStream
        try:
            return self._source.receive_nowait()
        except (anyio.WouldBlock, anyio.EndOfStream):
            raise
        except Exception:
            self._failed = True
            raise

    async def receive(self) -> T:
        """See `MemorySource.receive`."""
        if self._failed:
            raise anyio.EndOfStream
        try:
            return await self._source.receive()
        except anyio.EndOfStream:
            raise
        except Exception:
            self._failed = True
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class Demand(Line[T]):
    """A line whose owners can wait until an item is wanted."""

    __slots__ = ("_owners",)

    def __init__(self) -> None:
        super().__init__()
        self._owners: list[anyio.Event] = []

    def asked(self) -> None:
        """Wake the owners."""
        for owner in self._owners:
            owner.set()
        self._owners.clear()

    async def wanted(self) -> None:
        """Return when a consumer waits."""
        while not self.waiting:
            event = anyio.Event()
            self._owners.append(event)
            await event.wait()

    async def drain(self, pull: Callable[[], Awaitable[T]]) -> bool:
        """Move everything from `pull` here, on demand. False if an error ended it, which has ended the line."""
        while True:
            await self.wanted()
            try:
                with foreign_cancellations_named():
                    item = await pull()
            except StopAsyncIteration:
                return True
            except Exception as error:
                self.close(error)
                return False
            self.put(item)
            await checkpoint()  # an iterator that never waits must not keep the consumers from running


class Driven(MemorySource[T]):
    """A source in memory that is fed by tasks of its own, one per iterator, from `async with` until it is left."""

    _group: TaskGroup | None = None
    _closed = False  # by the user, and for good: each pass has a line of its own

    def __aiter__(self) -> AsyncIterator[T]:
        return Consumer(self)

    async def _drive(self, pulls: Sequence[Callable[[], Awaitable[T]]]) -> None:
        """Start one task per `pull`: each awaits the next item, `StopAsyncIteration` is its end."""
        if self._closed:
            pulls = ()
        self._line = line = Demand[T]()
        line.asking = len(pulls)
        self._items = line.items
        left = len(pulls)

        async def drive(pull: Callable[[], Awaitable[T]]) -> None:
            nonlocal left
            if await line.drain(pull):
                left -= 1
                if not left:
                    line.close()

        self._group = await anyio.create_task_group().__aenter__()
        for pull in pulls:
            self._group.start_soon(drive, pull)
        if not pulls:
            line.close()

    def close(self) -> None:
        """Ask for nothing more, in a later pass neither. What was taken may still be received; then comes the end."""
        super().close()  # which another thread may be refused
        self._closed = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop driving. Consumers that still wait get `SourceClosed`; what was taken ahead is dropped."""
        self._line.close(SourceClosed("the source was left"))
        self._items.clear()
        group, self._group = self._group, None
        try:
            if group is not None:
                group.cancel_scope.cancel()
                # Told of no error, the group makes no exception group: that of the block leaves bare, through us.
                await group.__aexit__(None, None, None)
        finally:  # a cancellation from outside comes out of the group
            for iterator in self._driven():
                await finish(iterator)

    def _driven(self) -> Iterable[object]:
        """Return the iterators that nobody will ask again once this is left."""
        raise NotImplementedError


async def finish(iterator: Any) -> None:
    """Run the `finally` blocks of a generator that nobody will ask again. Anything else belongs to its maker."""
    if inspect.isasyncgen(iterator):
        with anyio.move_on_after(CLEANUP_SECONDS, shield=True), foreign_cancellations_named():
            await iterator.aclose()
    elif inspect.isgenerator(iterator) and not iterator.gi_running:
        iterator.close()


@contextmanager
def foreign_cancellations_named() -> Generator[None]:
    """Make an error of a cancellation that is not for this task: let through, it would end whoever owns the task.

    On asyncio, awaiting a task that somebody cancelled raises the same CancelledError that is raised in one's own.
    """
    try:
        yield
    except anyio.get_cancelled_exc_class() as error:
        if _is_cancelled(error):
            raise
        raise RuntimeError(
            "the source raised a cancellation that was not its own: it awaited a task that somebody cancelled"
        ) from error


def _is_cancelled(error: BaseException) -> bool:
    """Tell whether `error` may be the cancellation of this task: by a scope, or natively."""
    if anyio.current_effective_deadline() == -math.inf:
        return True
    asyncio = sys.modules.get("asyncio")  # who is on trio need not load it
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    return bool(asyncio.current_task().cancelling())
