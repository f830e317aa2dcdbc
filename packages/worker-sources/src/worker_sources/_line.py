"""A line of items that meets a line of consumers: the heart of every source in memory.

An item goes to the consumer that has waited longest; without one it waits itself. So at any moment at most one of
the two lines has somebody in it. A consumer that is cancelled in the instant in which it was handed an item gives
it back to the *front*: it goes to the next in line, neither lost nor doubled.

An event is made only for a consumer that really has to wait. One that finds an item takes it without a trip through
the event loop, which is what makes this several times faster than a stream; so that a busy pair of tasks can't
starve the others, every `TURNS`-th step costs a checkpoint.
"""

from __future__ import annotations

from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")

# A checkpoint costs about 3 µs, a put and a take together less than 1: one in 128 of them makes it 0.05 µs per item,
# and still lets every other task run thousands of times a second.
TURNS = 128


class Place(Generic[T]):
    """Where one task stands in a line. `given` holds its item once it was served, and nothing before."""

    __slots__ = ("event", "given")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.given: tuple[T] | None = None

    def give(self, item: T) -> None:
        """Serve this place. Its task runs at the loop's next turn."""
        self.given = (item,)
        self.event.set()


class Line(Generic[T]):
    """See the module. Not thread-safe: everything happens on the event loop that it is used in.

    `waiting` are the consumers; `blocked` the producers, where the owner of the line bounds it; `asking` counts the
    tasks that are asking an iterator for the next item.
    """

    __slots__ = ("_thread", "_trace", "asking", "blocked", "closed", "error", "items", "turns", "waiting")

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.waiting: deque[Place[T]] = deque()
        self.blocked: deque[Place[None]] = deque()
        self.asking = 0
        self._thread = get_ident()
        self.closed = False
        self.error: Exception | None = None
        self._trace: TracebackType | None = None
        self.turns = TURNS

    def put(self, item: T) -> None:
        """Hand the item to whoever waits longest, or place it at the back."""
        if self.waiting:
            self.check_thread()
            self.waiting.popleft().give(item)
        else:
            self.items.append(item)

    def put_first(self, item: T) -> None:
        """Hand the item to whoever waits longest, or place it at the front."""
        if self.waiting:
            self.check_thread()
            self.waiting.popleft().give(item)
        else:
            self.items.appendleft(item)

    def take_nowait(self) -> T:
        """Take the first item; `WouldBlock` without one, `EndOfStream` (or the line's error) at the end."""
        if self.items:
            return self.items.popleft()
        if self.closed:
            raise self.end()
        raise anyio.WouldBlock

    async def take(self) -> T:
        """Take the first item, waiting for one if need be. Cancelled, it has taken nothing."""
        if self.turns > 1:
            self.turns -= 1
        else:
            await self.turn()
        if self.items or self.closed:
            return self.take_nowait()
        self.check_thread()
        place = Place[T]()
        self.waiting.append(place)
        self.asked()
        try:
            await place.event.wait()
        except BaseException:
            self._leave(place)
            raise
        if place.given is None:
            raise self.end()
        return place.given[0]

    def check_thread(self) -> None:
        """Refuse to wait, or to wake, in another thread than those who wait: their event loop would not hear of it.

        While nobody waits, a line may move: to the event loop of the next run, wherever that is.
        """
        thread = get_ident()
        if thread != self._thread:
            if self.is_waited_in():
                raise RuntimeError(
                    "this source is used by an event loop in another thread: call it there, by anyio.from_thread.run "
                    "or run_sync (with token= from a thread that anyio did not start), or make one for each loop"
                )
            self._thread = thread

    def is_waited_in(self) -> bool:
        """Tell whether somebody has to be woken here."""
        return bool(self.waiting or self.blocked or self.asking)

    def asked(self) -> None:
        """A consumer has begun to wait: who makes items on demand wakes up here."""

    async def turn(self) -> None:
        """Let the others run: so many steps have passed without waiting."""
        self.turns = TURNS
        await checkpoint()

    def close(self, error: Exception | None = None) -> None:
        """Nothing will be added: who waits is told now, who comes later when the items are gone. The first wins."""
        if self.closed:
            return
        if self.is_waited_in():
            self.check_thread()
        self.closed = True
        if error is not None:
            self.error, self._trace = error, error.__traceback__
        while self.waiting:
            self.waiting.popleft().event.set()

    def end(self) -> Exception:
        """What to raise at the end: the error that ended it, with the traceback it had then and not each reader's."""
        if self.error is None:
            return anyio.EndOfStream()
        return self.error.with_traceback(self._trace)

    def _leave(self, place: Place[T]) -> None:
        if place.given is not None:
            self.put_first(place.given[0])
        elif not place.event.is_set():
            self.waiting.remove(place)


class Baton(Line[None]):
    """`async with baton:` one task at a time, each in its turn, and only in the event loop of whoever holds it.

    Unlike an `anyio.Lock` it moves to the next run when nobody is in it, and refuses a task of another thread. Neither
    taking a free one nor passing it on suspends: what was done while holding it is never undone by a cancellation.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.put(None)

    async def __aenter__(self) -> None:
        self.check_thread()
        await self.take()
        self.asking += 1  # until it is passed on, there is somebody here

    async def __aexit__(self, *_: object) -> None:
        self.asking -= 1
        self.put(None)
