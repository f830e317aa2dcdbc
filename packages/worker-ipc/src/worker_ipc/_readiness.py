"""The only place that knows the event loop by name (but for Ctrl-C, `_whole`, and cancellations, `_foreign`).

anyio is neutral, and for everything rare we use it. Three things happen once per message, though, and there the
neutral form costs more than the message itself: waiting for a descriptor, parking a task until a callback wakes it,
and running something at the end of this tick. Each exists natively on both loops, so a channel asks `current_loop`
once and from then on speaks to one of two small adapters (that for trio is in `_trio_loop`):

    `waiter()`              one task may await it, one `set_result` settles it (an asyncio Future, nearly)
    `soon(callback)`        run it in the next tick
    `soon_from_anywhere`    the same, from any thread and at any moment: for finalizers
    `readable(fd, cb)`      a `Watch`: while started, `cb` runs whenever the descriptor can be read
    `writable(fd, cb)`      the same for writing
    `close()`               no callbacks any more

Callbacks come until then, also when the block of the channel is cancelled: what is shielded there still needs them.

trio is found through `sys.modules`: if it is not imported, it is not running, and we never import it. The same holds
for sniffio, by which anyio tells the loops apart where it is installed.
Callbacks never raise; what they call that may (the user's code) is guarded where it is called.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from anyio.abc import TaskGroup


class Waiter(Protocol):
    """A one-shot hand-over of a value to the one task that awaits it; the part of asyncio's Future that we use."""

    def set_result(self, value: Any, /) -> None:
        """Settle it. Only when not `done()`."""

    def done(self) -> bool:
        """Tell whether it was settled, or its task was cancelled."""
        ...

    def __await__(self) -> Generator[Any, Any, Any]: ...


class Watch(Protocol):
    """A callback for a descriptor, which can be stopped and started again."""

    def start(self) -> None:
        """Call back from now on, whenever the descriptor is ready."""

    def stop(self) -> None:
        """Call back no more, until started again."""

    def close(self) -> None:
        """Stop for good. Must come before the descriptor is closed."""


class Loop(Protocol):
    """What a channel needs from an event loop.

    `is_fifo`: what was made ready first runs first. trio shuffles on purpose.
    """

    is_fifo: bool

    @property
    def waiter(self) -> Callable[[], Waiter]: ...
    @property
    def soon(self) -> Callable[[Callable[[], object]], object]: ...
    def soon_from_anywhere(self, callback: Callable[[], object], /) -> None: ...
    def readable(self, fd: int, callback: Callable[[], object], /) -> Watch: ...
    def writable(self, fd: int, callback: Callable[[], object], /) -> Watch: ...
    def close(self) -> None: ...


def current_loop(group: TaskGroup) -> Loop:
    """Return the adapter for the running loop; its tasks, if it needs any, live in `group`."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        from ._trio_loop import TrioLoop

        return TrioLoop(trio, group)
    return _AsyncioLoop()


class _AsyncioLoop:
    """asyncio already has all of it: the attributes are the loop's own methods, with the context to call back in."""

    is_fifo = True

    def __init__(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._context = context = _callback_context()
        self.waiter: Callable[[], Waiter] = partial(_AsyncioWaiter, loop=loop)
        self.soon: Callable[[Callable[[], object]], object] = partial(loop.call_soon, context=context)

    def soon_from_anywhere(self, callback: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(callback, context=self._context)

    def readable(self, fd: int, callback: Callable[[], object]) -> Watch:
        # The integer, not a socket: selectors formats the repr of a socket on every miss.
        return _AsyncioWatch(fd, callback, self._context, self._loop.add_reader, self._loop.remove_reader)

    def writable(self, fd: int, callback: Callable[[], object]) -> Watch:
        return _AsyncioWatch(fd, callback, self._context, self._loop.add_writer, self._loop.remove_writer)

    def close(self) -> None:
        """Nothing is left to end: the watches end with their stream."""


def _callback_context() -> contextvars.Context:
    """Return the context for callbacks: that of the task which opened the channel, whoever causes a callback later.

    A callback has no task, and without one sniffio does not find asyncio: anyio could neither start a task nor make a
    scope there. `anyio.run` leaves sniffio's mark in every context; `asyncio.run` does not, so it is set here.
    """
    context = contextvars.copy_context()
    sniffio: Any = sys.modules.get("sniffio")
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context


class _AsyncioWaiter(asyncio.Future[Any]):
    """A Future that may be settled too late.

    Ctrl-C cancels the main task, and what that awaits, between any two steps of ours: also after we found it not
    `done()`, and before we settle it.
    """

    def set_result(self, value: Any, /) -> None:
        with suppress(asyncio.InvalidStateError):
            super().set_result(value)


class _AsyncioWatch:
    __slots__ = ("_add", "_callback", "_context", "_fd", "_remove", "_started")

    def __init__(
        self, fd: int, callback: Callable[[], object], context: contextvars.Context, add: Any, remove: Any
    ) -> None:
        self._fd, self._callback, self._context, self._add, self._remove = fd, callback, context, add, remove
        self._started = False

    def start(self) -> None:
        if not self._started:
            self._started = True
            self._context.copy().run(self._add, self._fd, self._callback)  # a copy: we may be inside of it

    def stop(self) -> None:
        if self._started:
            self._started = False
            self._remove(self._fd)

    close = stop
