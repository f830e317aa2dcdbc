"""Driving iterators on behalf of consumers: one task owns each iterator, and pulls only when somebody asks.

Cancelling the `anext` of an async generator finalises the generator: whoever drives it must not be somebody who may
be cancelled alone. So inside `async with`, a task of ours drives, and consumers only wait in line. That task captures
what an iterator raises and ends the line with it; it never fails itself, so no exception group is ever made of it.

It also finishes its iterator: a generator may be in the middle of a cancel scope (a `merge`, a `move_on_after`), which
only the task that entered it may leave, and only if it has entered no other since. So all of this happens in one scope
around it, and leaving is not a cancellation, unless the iterator has been asked for an item and has not come back.
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
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
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
    """A line whose owners can wait until an item is wanted, or never will be."""

    __slots__ = ("_owners",)

    def __init__(self) -> None:
        super().__init__()
        self._owners: list[anyio.Event] = []

    def asked(self) -> None:
        """Wake the owners."""
        for owner in self._owners:
            owner.set()
        self._owners.clear()

    async def wanted(self) -> bool:
        """Return True when a consumer waits, False when the line is closed."""
        while not self.waiting and not self.closed:
            event = anyio.Event()
            self._owners.append(event)
            await event.wait()
        return not self.closed

    def close(self, error: Exception | None = None) -> None:
        """Nothing will be added, see `Line.close`: and so nothing is asked for."""
        super().close(error)
        self.asked()


class Driver(Generic[T]):
    """Moves everything from one iterator into a line, on demand, and finishes it. `pull` awaits its next item."""

    def __init__(self, line: Demand[T], iterator: object, pull: Callable[[], Awaitable[T]]) -> None:
        self._line = line
        self._iterator = iterator
        self._pull = pull
        self._pulling = False
        # What is cancelled from outside is the block: it leaves, and we finish the iterator then as at any other time.
        self._scope = anyio.CancelScope(shield=True)
        self.exhausted = False
        self.error: BaseException | None = None  # of finishing it, for whoever leaves

    async def run(self) -> None:
        """Drive until the line is closed or the iterator ends; its error closes the line."""
        with self._scope:
            try:
                await self._drain()
            finally:
                self._scope.deadline = anyio.current_time() + CLEANUP_SECONDS
                await self._finish()

    def stop(self) -> None:
        """Don't wait for the item that the iterator was asked for: the line was closed, and nobody will take it."""
        if self._pulling:
            self._scope.cancel()

    async def _drain(self) -> None:
        line = self._line
        while await line.wanted():
            self._pulling = True
            try:
                with foreign_cancellations_named():
                    item = await self._pull()
            except StopAsyncIteration:
                self.exhausted = True
                return
            except Exception as error:
                line.close(error)
                return
            finally:
                self._pulling = False
            line.put(item)
            await checkpoint()  # an iterator that never waits must not keep the consumers from running

    async def _finish(self) -> None:
        try:
            await finish(self._iterator)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            self.error = error


class Driven(MemorySource[T]):
    """A source in memory that is fed by tasks of its own, one per iterator, from `async with` until it is left."""

    _group: TaskGroup | None = None
    _drivers: Sequence[Driver[T]] = ()
    _closed = False  # by the user, and for good: each pass has a line of its own

    def __aiter__(self) -> AsyncIterator[T]:
        return Consumer(self)

    async def _drive(self, pulls: Sequence[tuple[object, Callable[[], Awaitable[T]]]]) -> None:
        """Start one task per iterator and `pull`, which awaits its next item; `StopAsyncIteration` is its end."""
        self._line = line = Demand[T]()
        line.asking = len(pulls)
        self._items = line.items
        self._drivers = drivers = [Driver(line, iterator, pull) for iterator, pull in pulls]

        async def drive(driver: Driver[T]) -> None:
            await driver.run()
            if all(driver.exhausted for driver in drivers):
                line.close()

        self._group = await anyio.create_task_group().__aenter__()
        for driver in drivers:
            self._group.start_soon(drive, driver)
        if self._closed or not drivers:
            line.close()

    def close(self) -> None:
        """Ask for nothing more, in a later pass neither. What was taken may still be received; then comes the end."""
        super().close()  # which another thread may be refused
        self._closed = True
        for driver in self._drivers:
            driver.stop()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop driving. Consumers that still wait get `SourceClosed`; what was taken ahead is dropped."""
        line = self._line
        line.close(SourceClosed("the source was left"))
        line.items.clear()
        group, self._group = self._group, None
        drivers, self._drivers = self._drivers, ()
        if group is None:
            return
        for driver in drivers:
            driver.stop()
        try:
            # Told of no error, the group makes no exception group: that of the block leaves bare, through us.
            await group.__aexit__(None, None, None)
        finally:  # a cancellation from outside comes out of the group
            line.items.clear()
            for driver in drivers:
                if driver.error is not None:
                    raise driver.error


async def finish(iterator: Any) -> None:
    """Run the `finally` blocks of a generator that nobody will ask again. Anything else belongs to its maker.

    In the task that has asked it, and in the innermost scope of that: no other can leave the scopes that it is in.
    """
    if inspect.isasyncgen(iterator):
        try:
            with foreign_cancellations_named():
                await iterator.aclose()
        except BaseExceptionGroup as group:  # a task group that it is in makes one of the GeneratorExit that ends it
            if group.split(GeneratorExit)[1] is not None:
                raise
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
