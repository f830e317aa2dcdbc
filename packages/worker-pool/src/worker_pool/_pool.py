"""The public face of a pool."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, Unpack, overload

import anyio

from ._delivery import AckSource
from ._engine import Engine
from ._errors import PoolClosed, WorkFailed, said_yes
from ._nesting import is_inside, is_part, nested
from ._options import Options, PoolOptions
from ._outcome import Failure, Success, Summary
from ._single import Single
from ._statistics import Statistics, statistics_of
from ._stream import OutcomeStream
from ._whole import keep_whole
from ._worker import check_maker

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self

    from ._events import Event
    from ._worker import Made, Worker

In = TypeVar("In")
Out = TypeVar("Out")

Source: TypeAlias = (
    Iterable[In]
    | AsyncIterable[In]
    | Iterator[In]
    | AsyncIterator[In]
    | Callable[[], Iterable[In]]
    | Callable[[], AsyncIterable[In]]
    | AckSource[In]
)
"""Where inputs come from: anything that can be iterated, sync or async; a function that returns such; an AckSource."""

OnFailure: TypeAlias = Literal["collect", "stop"] | Callable[[Failure[In]], object]

HASTY = 0.5  # seconds of grace when the block is left by an error or a cancellation: enough to finish, not to linger


class WorkPool(Generic[In, Out]):
    """Runs inputs on a bounded set of reusable workers; every input ends in exactly one outcome.

        async with WorkPool(make_worker, max_size=4) as pool:
            await pool.process(source)

    `make_worker()` returns a worker, an awaitable of one, or an async context manager that yields one; see `Worker`.
    All times are seconds; None means no limit, where it is allowed. Of the options:

    * `max_size` (default 4), `min_size` (0): how many workers there are. Those that start and those that are still
      leaving count. Workers are started when an input needs them, `min_size` of them at once.
    * `concurrency` (1): how many inputs one worker runs at the same time.
    * `idle_timeout` (None): a worker that had nothing to do for so long ends, down to `min_size`.
    * `init_timeout` (60), `destroy_timeout` (10): limits for making and for ending a worker; the latter also for
      its `release`, and for an input to let go when it was cancelled. A worker that does not end even so gives its
      place up, with a warning; the block still waits for its task.
    * `execute_timeout` (None): limit for one input, from when its execution begins. It fails with `TaskTimeout`.
    * `retry` (None): run failed inputs again, see `Retry`.
    * `retire` (None): asked with a `WorkerInfo` between two inputs; a truthy answer replaces the worker.
    * `max_starting` (processors, at least 2): how many workers start at the same time.
    * `max_start_failures` (3), `start_backoff` (0.1): so many failed starts in a row, while no worker is left, break
      the pool; after each it waits, twice as long as before, 30 s at most.
    * `grace` (30): how long leaving the block waits for inputs that run; half a second at most when it is left by an
      error or a cancellation.

    A cancelled or timed-out execute costs its worker, once its neighbours on that worker have finished: nobody
    knows what state it is in. The pool belongs to the event loop and the block in which it was entered: a call from
    elsewhere raises RuntimeError. Its workers see the context variables of that block, whichever call needs them first.
    """

    @overload
    def __init__(self, make_worker: Callable[[], Worker[In, Out]], **options: Unpack[PoolOptions]) -> None: ...
    @overload
    def __init__(
        self, make_worker: Callable[[], AbstractAsyncContextManager[Worker[In, Out]]], **options: Unpack[PoolOptions]
    ) -> None: ...
    @overload
    def __init__(self, make_worker: Callable[[], Made[In, Out]], **options: Unpack[PoolOptions]) -> None: ...

    def __init__(self, make_worker: Callable[[], Any], **options: Any) -> None:
        check_maker(make_worker)
        if unknown := options.keys() - Options.__dataclass_fields__.keys():
            raise TypeError(f"WorkPool() got an unexpected keyword argument {min(unknown)!r}")
        self._options = Options(**options)
        self._engine = Engine(make_worker, self._options)
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise RuntimeError("a pool can be entered once")
        keep_whole()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        if not self._engine.is_closed:
            self._engine.start(self._group)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._group is not None
        try:
            await self.shutdown(None if exc is None else min(HASTY, self._options.grace))
        finally:
            if not self._engine.ended.is_set():
                self._engine.interrupted()
            try:
                # Not the body's exception: the group would wrap it, and it is to leave as it is.
                await self._group.__aexit__(None, None, None)
            except BaseExceptionGroup as group:
                if len(group.exceptions) == 1 and exc is None:
                    raise group.exceptions[0] from None
                raise

    async def process(
        self, source: Source[In], *, on_failure: OnFailure[In] = "collect", max_errors: int = 100
    ) -> Summary:
        """Run every input of `source`; return the counts when all have ended.

        If any failed it raises `WorkFailed`, with at most `max_errors` of the errors:

        * `on_failure="collect"`: after all inputs;
        * `"stop"`: takes nothing more after the first failure; what runs then is finished first;
        * a function is called with each `Failure` as it happens and takes it over: nothing is raised for it. It
          returns True to stop, and must not be async.

        What the source itself raises comes bare, once, after the inputs before it have ended. A shutdown makes it
        return early; see `Summary.unfinished`. Cancelled, it cancels its inputs and waits until they have let go.

        Raises: `WorkFailed`; `PoolBroken` if no worker can be started; `PoolClosed` if the pool is closed.
        """
        is_handled = callable(on_failure)
        _check_handling(on_failure, max_errors)
        feed = self._engine.feed(source, None)
        failures: list[Failure[Any]] = []

        def note(failure: Failure[Any]) -> None:
            stop = on_failure == "stop"
            if callable(on_failure):
                try:
                    stop = said_yes("on_failure", on_failure(failure))
                except BaseException as error:
                    feed.drop_unstarted(error)
                    return
            elif len(failures) < max_errors:
                failures.append(failure)
            if stop:
                feed.drop_unstarted()

        feed.on_failure = note
        try:
            self._engine.begin(feed)
            with nested(self._engine):
                await feed.finished.wait()
        finally:
            await self._engine.leave(feed)
        if feed.error is not None:
            raise feed.error
        summary = feed.summary(tuple(failures))
        if summary.failed and not is_handled:
            raise WorkFailed(summary)
        return summary

    def stream(self, source: Source[In], *, ordered: bool = False) -> OutcomeStream[In, Out]:
        """Return the outcomes of the inputs of `source`, to be entered and iterated:

            async with pool.stream(source) as outcomes:
                async for outcome in outcomes: ...

        They come as they happen, or, `ordered`, in the order of the inputs. See `OutcomeStream`.
        """
        return OutcomeStream(self._engine, source, ordered)

    async def execute(self, input: In) -> Out:
        """Run one input and return its result, or raise its error.

        Waits for a free worker, first come, first served. Cancelled, it cancels the execution, which costs the
        worker unless that says `survives_cancel`.

        Raises: what `execute` of the worker raised; `TaskTimeout`; `PoolBroken`; `PoolClosed`, also when the pool
        is shut down before the result is there; `PoolDeadlock` from inside a task that holds the last worker.
        """
        engine = self._engine
        engine.check_open()
        call = Single(engine, input)
        try:
            engine.begin(call)
            if not is_inside(engine):
                await call.finished.wait()
            else:
                with nested(engine):
                    await call.finished.wait()
        finally:
            if not call.finished.is_set():
                await engine.leave(call)
        outcome = call.outcome
        if isinstance(outcome, Success):
            return outcome.result  # type: ignore[no-any-return]
        if outcome is not None:
            raise outcome.error
        raise call.error or PoolClosed("the pool was closed before this input had ended")

    def close(self, grace: float | None = None) -> None:
        """Begin to shut down, without waiting for the end: for callbacks. See `shutdown`."""
        self._engine.close(self._options.grace if grace is None else grace)

    async def shutdown(self, grace: float | None = None) -> None:
        """Take nothing more, finish what runs within `grace` seconds, cancel the rest, end the workers.

        None: the pool's own `grace`. Inputs that have not started are handed back where their source can take them
        back. May be called more than once and from several tasks: the shortest grace counts, and all return when
        everything has ended. Called from inside a task of the pool it returns at once. Cancelled, it still waits
        for the end, but cuts the grace to half a second.
        """
        self.close(grace)
        if self._group is None or is_part(self._engine):
            return
        try:
            await self._engine.ended.wait()
        finally:
            if not self._engine.ended.is_set():
                self.close(HASTY)
                with anyio.CancelScope(shield=True):
                    await self._engine.ended.wait()

    def statistics(self) -> Statistics:
        """Return a snapshot of the counts."""
        return statistics_of(self._engine)

    def listen(self, listener: Callable[[Event], object]) -> Callable[[], None]:
        """Call `listener` with every event from now on; return a function that removes it. See `Event`."""
        return self._engine.events.listen(listener)


def _check_handling(on_failure: object, max_errors: object) -> None:
    if not callable(on_failure) and on_failure not in ("collect", "stop"):
        raise ValueError(f"on_failure must be 'collect', 'stop' or a function, got {on_failure!r}")
    if iscoroutinefunction(on_failure):
        raise TypeError(f"on_failure must not be async: nothing awaits it, got {on_failure!r}")
    if not isinstance(max_errors, int):
        raise TypeError(f"max_errors must be a whole number, got {max_errors!r}")
    if max_errors < 1:
        raise ValueError(f"max_errors must be at least 1, got {max_errors!r}")
