"""EventSource: the caller decides when the next item is available."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from anyio.lowlevel import current_token

from ._errors import QueueFull, SourceClosed
from ._hop import call_in_loop, wake
from ._line import Line
from ._memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from anyio.lowlevel import EventLoopToken

T = TypeVar("T")

Overflow = Literal["error", "drop_oldest"]


class HomedLine(Line[T]):
    """A line that knows in which event loop, of which thread, it is used: there it moves while nobody waits in it."""

    __slots__ = ("home",)

    def __init__(self) -> None:
        super().__init__()
        self.home: tuple[EventLoopToken, int] | None = None

    def asked(self) -> None:
        """A consumer has begun to wait: it is woken in its own event loop."""
        self.find_home()

    def find_home(self) -> None:
        """Make this event loop the home, unless somebody waits in that of another thread."""
        thread = threading.get_ident()
        if self.home is None or self.home[1] == thread or not self.is_waited_in():
            with suppress(RuntimeError):  # no event loop here yet: the first consumer brings it
                self.home = current_token(), thread


class EventSource(MemorySource[T]):
    """An endless source for work that comes from callbacks: a file watcher, a signal, a message of a broker.

        source = EventSource[str]()
        watcher.on_change(source.trigger)                  # on the loop's own thread: never waits
        observer.on_change(source.trigger_threadsafe)      # on any other thread, and in handlers of `signal.signal`

    Every `trigger` is an item of its own and waits for its consumer: two in one tick are two items, and one that
    nobody was waiting for is not lost. A callback can't be slowed down, so the line is bounded by a policy:

    `max_pending`: how many items may wait. 10,000 is minutes of work, and a few megabytes, for most.
    `overflow`: what to do with one more. "error" raises `QueueFull` in the callback; "drop_oldest" forgets the
    item at the front, counts it in `dropped`, and takes the new one: for states, of which only the newest matter.

    Make it inside the event loop (or use it there once) before another thread triggers it. When nobody waits in it, it
    moves to the event loop that uses it next, such as that of the next run.
    """

    def __init__(self, *, max_pending: int = 10_000, overflow: Overflow = "error") -> None:
        if max_pending < 1:
            raise ValueError(f"max_pending must be 1 or more, got {max_pending}")
        if overflow not in ("error", "drop_oldest"):
            raise ValueError(f"overflow must be 'error' or 'drop_oldest', got {overflow!r}")
        super().__init__()
        self._max_pending = max_pending
        self._overflow = overflow
        self._count = 0
        self._dropped = 0
        self._line = self._homed = HomedLine[T]()
        self._items = self._line.items
        self._homed.find_home()

    @property
    def total(self) -> int | None:
        """How many items there were in all, dropped ones not counted: known once closed, None before."""
        return self._count - self._dropped if self._line.closed else None

    @property
    def dropped(self) -> int:
        """How many items `overflow="drop_oldest"` has forgotten so far."""
        return self._dropped

    def trigger(self, item: T, immediate: bool = False) -> None:
        """Add an item, never waiting. `immediate` puts it at the front of the line instead of the back.

        Call it on the event loop's thread; on another it raises RuntimeError. Raises `SourceClosed`, or `QueueFull`
        (see `overflow`); the item is still yours then.
        """
        if self._line.closed:
            raise SourceClosed
        home = self._homed.home
        if home is not None and threading.get_ident() != home[1]:
            raise RuntimeError("trigger is for the event loop's own thread: use trigger_threadsafe here")
        if len(self._items) >= self._max_pending:
            self._make_room()
        if immediate:
            self._line.put_first(item)
        else:
            self._line.put(item)
        self._count += 1

    def trigger_threadsafe(self, item: T, immediate: bool = False) -> None:
        """Do `trigger` from any thread, and return when the item is in line: within one turn of the event loop.

        Raises what `trigger` raises, and `SourceClosed` when the event loop has ended, also while it waits for it; the
        item is still yours then.
        """
        home = self._homed.home
        if home is None:
            raise RuntimeError("trigger_threadsafe before any use of the source in an event loop: make it there")
        token, thread = home
        if threading.get_ident() == thread:  # waiting here for the loop would be waiting for ourselves
            self.trigger(item, immediate)
            wake(token)
            return
        call_in_loop(token, partial(self.trigger, item, immediate))

    async def receive(self) -> T:
        """Take the next item; see `QueueSource.receive`."""
        self._homed.find_home()
        return await super().receive()

    def __aiter__(self) -> AsyncIterator[T]:
        self._homed.find_home()
        return self

    async def __aenter__(self) -> Self:
        self._homed.find_home()
        return self

    def _make_room(self) -> None:
        if self._overflow == "error":
            raise QueueFull(self._max_pending)
        self._items.popleft()
        self._dropped += 1
