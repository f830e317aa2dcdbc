"""The only place that knows the event loop by name (but for Ctrl-C, `_whole`, and cancellations, `_foreign`).

anyio is neutral, and for everything rare we use it. Three things happen once per message, though, and there the
neutral form costs more than the message itself: waiting for a descriptor, parking a task until a callback wakes it,
and running something at the end of this tick. Each exists natively on both loops, so a channel asks `current_loop`
once and from then on speaks to one of two small adapters:

    `waiter()`              one task may await it, one `set_result` settles it (an asyncio Future, nearly)
    `soon(callback)`        run it in the next tick
    `soon_from_anywhere`    the same, from any thread and at any moment: for finalizers
    `readable(fd, cb)`      a `Watch`: while started, `cb` runs whenever the descriptor can be read
    `writable(fd, cb)`      the same for writing

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
    from collections.abc import Awaitable, Callable, Generator

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


def current_loop(group: TaskGroup) -> Loop:
    """Return the adapter for the running loop; its tasks, if it needs any, live in `group`."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return _TrioLoop(trio, group)
    return _AsyncioLoop()


# --- asyncio, uvloop ---------------------------------------------------------------------------------------------


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


# --- trio --------------------------------------------------------------------------------------------------------


class _TrioLoop:
    """trio has tasks instead of callbacks: one per watch, and one that runs what is wanted soon."""

    is_fifo = False

    def __init__(self, trio: Any, group: TaskGroup) -> None:
        self._trio, self._group = trio, group
        self._callbacks: list[Callable[[], object]] = []
        self._parked: Any = None
        self._token = trio.lowlevel.current_trio_token()
        group.start_soon(self._run_soon, name="worker_ipc tick")

    def waiter(self) -> Waiter:
        return _TrioWaiter(self._trio.lowlevel)

    def soon(self, callback: Callable[[], object]) -> None:
        self._callbacks.append(callback)
        if self._parked is not None:
            task, self._parked = self._parked, None
            self._trio.lowlevel.reschedule(task)

    def soon_from_anywhere(self, callback: Callable[[], object]) -> None:
        with suppress(self._trio.RunFinishedError):
            self._token.run_sync_soon(callback, idempotent=True)

    def readable(self, fd: int, callback: Callable[[], object]) -> Watch:
        return _TrioWatch(self._trio, self._group, fd, callback, self._trio.lowlevel.wait_readable)

    def writable(self, fd: int, callback: Callable[[], object]) -> Watch:
        return _TrioWatch(self._trio, self._group, fd, callback, self._trio.lowlevel.wait_writable)

    async def _run_soon(self) -> None:
        lowlevel = self._trio.lowlevel

        def abort(_: object) -> Any:
            self._parked = None
            return lowlevel.Abort.SUCCEEDED

        while True:
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()
            if not self._callbacks:
                self._parked = lowlevel.current_task()
                await lowlevel.wait_task_rescheduled(abort)
            else:  # a callback asked for another one: that is the next tick
                await lowlevel.cancel_shielded_checkpoint()


class _TrioWaiter:
    __slots__ = ("_done", "_lowlevel", "_task", "_value")

    def __init__(self, lowlevel: Any) -> None:
        self._lowlevel = lowlevel
        self._task: Any = None
        self._done = False
        self._value: Any = None

    def set_result(self, value: Any) -> None:
        self._done = True
        self._value = value
        if self._task is not None:
            self._lowlevel.reschedule(self._task)
            self._task = None

    def done(self) -> bool:
        return self._done

    def _abort(self, _: object) -> Any:
        # trio aborts at once and never after `reschedule`: between settling and waking there is no gap.
        self._task = None
        self._done = True
        return self._lowlevel.Abort.SUCCEEDED

    def __await__(self) -> Generator[Any, Any, Any]:
        if not self._done:
            self._task = self._lowlevel.current_task()
            yield from self._lowlevel.wait_task_rescheduled(self._abort).__await__()
        return self._value


class _TrioWatch:
    __slots__ = ("_callback", "_closed", "_fd", "_group", "_parked", "_running", "_started", "_trio", "_wait")

    def __init__(
        self,
        trio: Any,
        group: TaskGroup,
        fd: int,
        callback: Callable[[], object],
        wait: Callable[[int], Awaitable[None]],
    ) -> None:
        self._trio, self._group, self._fd, self._callback, self._wait = trio, group, fd, callback, wait
        self._started = self._closed = self._running = False
        self._parked: _TrioWaiter | None = None

    def start(self) -> None:
        self._started = True
        if self._parked is not None:
            parked, self._parked = self._parked, None
            parked.set_result(None)
        elif not self._running:
            self._running = True
            self._group.start_soon(self._watch, name="worker_ipc watch")

    def stop(self) -> None:
        # A wait under way is left alone: its task looks again when it wakes, and parks.
        self._started = False

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._trio.lowlevel.notify_closing(self._fd)
        if self._parked is not None:
            parked, self._parked = self._parked, None
            parked.set_result(None)

    async def _watch(self) -> None:
        wait, fd, callback = self._wait, self._fd, self._callback
        closed_error: type[Exception] = self._trio.ClosedResourceError
        while not self._closed:
            if not self._started:
                self._parked = _TrioWaiter(self._trio.lowlevel)
                await self._parked
                continue
            try:
                await wait(fd)
            except closed_error:
                continue  # closed here: then the loop ends; or the other direction of the same socket: then go on
            if self._is_wanted():
                callback()

    def _is_wanted(self) -> bool:
        return self._started and not self._closed
