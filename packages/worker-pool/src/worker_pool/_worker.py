"""What a worker is, and how one is made and ended.

A worker is anything with `async execute(input)`; a plain async function of one input is one too. Everything else is
found if it is there:

    async init()        before the first input; its limit is `init_timeout`
    async release()     after each input, to make ready for the next
    async destroy()     at the end; its limit is `destroy_timeout`
    active: bool        False: I can't go on, replace me. Read after each input, and before one if I was idle
    id                  how outcomes, events and logs call me; else the pool gives a number
    rss: int            bytes of memory in use, for `retire`
    survives_cancel     True: a cancelled or timed-out execute leaves me fit for the next
    not_started(error)  True of what `execute` raised: nothing of that input has happened, and I have come to my end.
                        It runs elsewhere, and nobody sees the error unless workers do nothing but end

A worker made for throughput offers `submit` beside `execute`, see `SubmitWorker`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, cast

import anyio

from ._events import log
from ._foreign import absolve, times_asked

if TYPE_CHECKING:
    from ._outcome import Settled

In = TypeVar("In")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


Answer: TypeAlias = tuple[int, Any, Exception | None]
"""What became of `inputs[i]`: `(i, result, None)`, or `(i, None, error)`."""


class Settle(Protocol):
    """Tells the pool what became of inputs: `settle(i, outcome)` for `inputs[i]`, once for each, in any order.

    Synchronous. The pool may call `submit` again before it returns, with what comes next.
    """

    def __call__(self, i: int, outcome: Settled[Any, Any], /) -> None:
        """Settle one input."""

    def many(self, answers: Sequence[Answer], /, *, more: bool = False) -> None:
        """Settle those that are known at the same moment, at a fraction of the cost.

        `more`: what became of inputs of another list follows at once. The pool hands out what comes next after the
        last, as one list, and not after each.
        """


class Worker(Protocol[In_contra, Out_co]):
    """What runs inputs. Only `execute` is asked for."""

    async def execute(self, input: In_contra, /) -> Out_co:
        """Do the work of one input and return its result, or raise."""
        ...


class SubmitWorker(Worker[In, Out_co], Protocol[In, Out_co]):
    """A worker that is handed inputs without a task for each; the pool then never calls its `execute`.

    `submit(inputs, settle)` takes a list of at least one input and returns at once. Later, or before it returns,
    the worker calls `settle(i, outcome)` once for each, with `Success`, `Failure` or `NotStarted`, or `settle.many`
    for several results and errors at once. That may be in a callback of the event loop; within it the pool may call
    `submit` again.

    What the pool reads, all of it optional:

    * `batch: int | None`: how many inputs one list may hold; then `concurrency` such lists may be in flight, that is
      `concurrency * batch` inputs. None, the default: `concurrency` inputs in all, in one list or in many. The pool
      starts with lists of one and lets them grow only as far as they stay quick (1 ms of work in each), so that no
      input waits behind others while another worker is idle.
    * `overlaps: bool` (default False): False says that inputs are run one after another in the order given. Then
      the time of one, and its `execute_timeout`, counts from the later of its `submit` and the previous `settle`,
      and what is in flight beyond one is bounded by measured time. True says that all run at once.
    * `gives_back: bool` (default False), of one that does not overlap: True says that what waits behind a slow input is
      settled as `NotStarted` soon, so that an input which was given up need not end the worker under its neighbours.
    * `active`, `id`, `rss`, `survives_cancel`, `init` and `destroy` as for any worker; `release` is not called.

    When it ends, by `destroy` or by accident, the worker settles all it has: `NotStarted` what has not begun,
    `Failure` what has. What it leaves unsettled fails with `WorkerLost`. A second `settle` is counted and ignored.
    """

    def submit(self, inputs: list[In], settle: Settle, /) -> None:
        """Take `inputs`; call `settle` for each."""
        ...


AnyWorker: TypeAlias = Worker[In, Out] | Callable[[In], Awaitable[Out]]
"""A worker, or a plain async function that is one."""

Made: TypeAlias = (
    Callable[[In], Awaitable[Out]]
    | Awaitable[AnyWorker[In, Out]]
    | AbstractAsyncContextManager[AnyWorker[In, Out]]
    | Worker[In, Out]
)
"""What `make_worker()` may return."""


class FunctionWorker(Generic[In, Out]):
    """A plain async function as a worker."""

    def __init__(self, function: Callable[[In], Awaitable[Out]]) -> None:
        self.execute = function


class WorkerInfo:
    """What is known of a worker: given to `retire`, and part of events.

    `id`: its own, or a number; `worker`: the object itself; `started`: when it was ready (`time.perf_counter()`);
    `tasks`: inputs it has ended; `run_time`: the seconds they took.
    """

    __slots__ = ("id", "run_time", "started", "tasks", "worker")

    def __init__(self, worker: Any, number: int) -> None:
        own = getattr(worker, "id", None)
        self.id: object = number if own is None else own
        self.worker: Any = worker
        self.tasks: int = 0
        self.run_time: float = 0.0
        self.started: float = time.perf_counter()

    def worked(self, tasks: int, seconds: float) -> None:
        """Count inputs that it has ended."""
        self.tasks += tasks
        self.run_time += seconds

    @property
    def age(self) -> float:
        """Seconds since it was ready."""
        return time.perf_counter() - self.started

    @property
    def rss(self) -> int:
        """Bytes of memory it says it uses; 0 if it does not say."""
        return cast(int, getattr(self.worker, "rss", 0) or 0)

    def __repr__(self) -> str:
        return f"<worker {self.id!r}: {self.tasks} tasks in {self.age:.1f} s>"


@asynccontextmanager
async def open_worker(
    make_worker: Callable[[], Any],
    life: anyio.CancelScope,
    destroy_timeout: float,
    check_in_time: Callable[[], object] = lambda: None,
) -> AsyncGenerator[Any]:
    """Make a worker, and end it. `check_in_time` raises if that took too long: who blocks is not interrupted.

    A context manager is entered and left, and that is its whole life; any other worker has `init` and `destroy`.
    `destroy` is called also after an `init` that failed, and has `destroy_timeout` then even if that was cancelled:
    `life`, the scope that the caller has just entered, is a shield from then on.
    """
    asked = times_asked()
    made: Any = await _resolved(make_worker())
    if hasattr(made, "__aenter__"):
        async with made as entered:
            check_in_time()
            yield _as_worker(entered)
        return
    worker = _as_worker(made)
    destroy = as_async("destroy", getattr(worker, "destroy", _nothing))
    try:
        await as_async("init", getattr(worker, "init", _nothing))()
        check_in_time()
    except BaseException:
        life.shield, life.deadline = True, anyio.current_time() + destroy_timeout
        absolve(asked)
        try:
            await destroy()
        except anyio.get_cancelled_exc_class():  # it took too long; why `init` failed is what counts
            log.warning("a worker that could not be started did not end within %g s", destroy_timeout)
        raise
    try:
        yield worker
    finally:
        await destroy()  # here and above in no scope of its own: `init` may have left one open that is closed here


def check_maker(make_worker: object) -> None:
    """Refuse what can't be called without arguments: `WorkPool(fetch)` is meant as `WorkPool(lambda: fetch)`."""
    if not callable(make_worker):
        raise TypeError(
            f"make_worker must be a function without arguments that makes a worker, got {make_worker!r}.\n"
            "  A pool makes a worker each time that it needs one: WorkPool(lambda: ...)"
        )
    try:
        inspect.signature(make_worker).bind()
    except ValueError:  # it is written in C, and does not say what it takes
        return
    except TypeError as error:
        raise TypeError(
            f"make_worker must be a function without arguments that makes a worker, got {make_worker!r}: {error}.\n"
            "  An async function of one input is a worker itself: WorkPool(lambda: function)"
        ) from None


def as_async(name: str, function: Any) -> Any:
    """Return `function`, guarded if it may be one that nobody can await: what Python says then names nothing."""
    if function is None or inspect.iscoroutinefunction(function):
        return function

    async def checked(*arguments: Any) -> Any:
        pending = function(*arguments)
        if not inspect.isawaitable(pending):
            raise TypeError(f"{name} of a worker must be async, and {function!r} returned {pending!r:.100}")
        return await pending

    return checked


async def _nothing() -> None: ...


async def _resolved(made: Any) -> Any:
    return await made if inspect.isawaitable(made) and not hasattr(made, "execute") else made


def _as_worker(made: Any) -> Any:
    if hasattr(made, "execute") or hasattr(made, "submit"):
        return made
    if callable(made) and not isinstance(made, type):
        return FunctionWorker[Any, Any](cast(Callable[[Any], Awaitable[Any]], made))
    raise TypeError(
        "make_worker must return a worker, an awaitable of one or an async context manager that yields one.\n"
        "  Expected: an object with `async execute(input)`, or an async function of one input\n"
        f"  Got:      {made!r}"
    )
