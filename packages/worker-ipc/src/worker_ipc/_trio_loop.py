"""trio as a `_readiness.Loop`: it has tasks instead of callbacks, one per watch, and one that runs what is wanted soon.

They are tasks of the channel's group, but shielded: like asyncio's callbacks, they outlive a cancellation of the block.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from anyio.abc import TaskGroup


class TrioLoop:
    """See `_readiness.Loop`."""

    is_fifo = False

    def __init__(self, trio: Any, group: TaskGroup) -> None:
        self._trio, self._group = trio, group
        self._scopes: set[Any] = set()  # of our tasks
        self._closed = False
        self._callbacks: list[Callable[[], object]] = []
        self._parked: Any = None
        self._token = trio.lowlevel.current_trio_token()
        self.start(self._run_soon, "worker_ipc tick")

    def start(self, function: Callable[[], Awaitable[None]], name: str) -> None:
        """Run a task until `close`, whoever else is cancelled."""
        scope = self._trio.CancelScope(shield=not self._closed)
        self._scopes.add(scope)
        self._group.start_soon(self._run_in, scope, function, name=name)

    async def _run_in(self, scope: Any, function: Callable[[], Awaitable[None]]) -> None:
        with scope:
            await function()
        self._scopes.discard(scope)

    def close(self) -> None:
        self._closed = True
        for scope in self._scopes:
            scope.cancel()

    def waiter(self) -> _TrioWaiter:
        return _TrioWaiter(self._trio.lowlevel)

    def soon(self, callback: Callable[[], object]) -> None:
        self._callbacks.append(callback)
        if self._parked is not None:
            task, self._parked = self._parked, None
            self._trio.lowlevel.reschedule(task)

    def soon_from_anywhere(self, callback: Callable[[], object]) -> None:
        with suppress(self._trio.RunFinishedError):
            self._token.run_sync_soon(callback, idempotent=True)

    def readable(self, fd: int, callback: Callable[[], object]) -> _TrioWatch:
        return _TrioWatch(self._trio, self.start, fd, callback, self._trio.lowlevel.wait_readable)

    def writable(self, fd: int, callback: Callable[[], object]) -> _TrioWatch:
        return _TrioWatch(self._trio, self.start, fd, callback, self._trio.lowlevel.wait_writable)

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
    __slots__ = ("_callback", "_closed", "_fd", "_parked", "_run", "_running", "_started", "_trio", "_wait")

    def __init__(
        self,
        trio: Any,
        run: Callable[[Callable[[], Awaitable[None]], str], None],
        fd: int,
        callback: Callable[[], object],
        wait: Callable[[int], Awaitable[None]],
    ) -> None:
        self._trio, self._run, self._fd, self._callback, self._wait = trio, run, fd, callback, wait
        self._started = self._closed = self._running = False
        self._parked: _TrioWaiter | None = None

    def start(self) -> None:
        self._started = True
        if self._parked is not None:
            parked, self._parked = self._parked, None
            parked.set_result(None)
        elif not self._running:
            self._running = True
            self._run(self._watch, "worker_ipc watch")

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
