"""What a pool raises.

    PoolError
    ├── PoolClosed          you closed it
    ├── PoolBroken          its workers can't be started
    ├── PoolDeadlock        a task waits for its own worker
    ├── StartTimeout        a worker was not ready in time          (also a TimeoutError)
    ├── TaskTimeout         one input took too long                 (also a TimeoutError)
    ├── TaskAborted         one input's execute left otherwise than by a result or an Exception
    └── WorkerLost          a worker ended without a word about this input
    WorkFailed              an ExceptionGroup of what the inputs of one `process` raised

What a worker raises stays the worker's own: it is found in `Failure.error`, and raised bare by `execute`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._outcome import Failure, Summary

E_co = TypeVar("E_co", bound=Exception, covariant=True)

SHOWN = 2000  # characters of what is the user's, in a sentence or a dead letter: enough to know it by, and no flood
_INPUTS_SHOWN = 5  # the errors of all are in the group, their inputs in `failures`


class PoolError(Exception):
    """Base of what the pool itself raises. Never raised itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__.copy(), self.__cause__)


class PoolClosed(PoolError):
    """The pool was shut down, by you: it takes nothing any more, and what had not started never will."""

    def __init__(self, message: str = "the pool is closed") -> None:
        super().__init__(message)


class PoolBroken(PoolError):
    """No worker could be started, `failures` times in a row; `__cause__` is why the last one failed.

    Unlike `PoolClosed` it is not your doing. It stays: every later call raises it at once.
    """

    def __init__(self, failures: int, cause: BaseException | None) -> None:
        super().__init__(f"no worker could be started, {failures} times in a row; the last error: {told(cause)}")
        self.failures = failures
        self.__cause__: BaseException | None = cause


class PoolDeadlock(PoolError, RuntimeError):
    """A task of this pool waits for a worker of this pool, and all its workers are held by such tasks."""

    def __init__(self, slots: int, *, alone: bool = False, leaving: bool = False) -> None:
        cure = "raise max_size or concurrency, or give inner work a pool of its own"
        if alone:
            held, cure = "an input that must run alone waits", "give inner work a pool of its own"
        elif leaving:
            held = "a worker that must be replaced is held by a task that waits"
            cure = "raise max_size, or give inner work a pool of its own"
        elif slots == 1:
            held = "the only slot of the pool is held by a task that waits"
        else:
            held = f"all {slots} slots of the pool are held by tasks that wait"
        super().__init__(f"{held} for a slot of this very pool; {cure}")


class StartTimeout(PoolError, TimeoutError):
    """A worker was not ready within `init_timeout` seconds. Counts as a failed start."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the worker was not ready after {seconds:g} s")
        self.seconds = seconds


class TaskTimeout(PoolError, TimeoutError):
    """An input ran longer than `execute_timeout` seconds, counted from the start of its execution."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"execution took longer than {seconds:g} s")
        self.seconds = seconds


class TaskAborted(PoolError):
    """`execute` left by something that is not an Exception: `SystemExit`, or a cancellation of its own.

    `__cause__` is what it was. It costs the worker, not the program.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"execute left with {shown(cause)}")
        self.__cause__: BaseException | None = cause


class WorkerLost(PoolError):
    """A worker ended, and had not settled this input: whether it ran is unknown, so it is not run again."""

    def __init__(self, worker: object) -> None:
        super().__init__(f"worker {shown(worker)} ended without settling this input")
        self.worker = worker


class WorkFailed(ExceptionGroup[E_co]):
    """Inputs of one `process` failed: a group of their errors, at most `max_errors` of them.

    `summary` tells how many there were; `left_out` how many of them are not in the group; `failures` are the same
    errors with their inputs.
    """

    summary: Summary
    left_out: int

    def __new__(cls, summary: Summary) -> WorkFailed[Exception]:
        """Make the group from the failures that the summary kept."""
        errors = [failure.error for failure in summary.failures]
        left_out = summary.failed - len(errors)
        total = summary.succeeded + summary.failed + summary.unfinished
        message = f"{summary.failed} of {total} inputs failed" + (f", {left_out} errors left out" if left_out else "")
        self = super().__new__(cls, message, errors)  # type: ignore[arg-type]
        self.summary = summary
        self.left_out = left_out
        if errors:
            self.add_note(_inputs_of(summary.failures))
        return self

    def __init__(self, summary: Summary) -> None:
        super().__init__(*self.args)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.summary,), vars(self)  # with the notes that were added

    @property
    def failures(self) -> tuple[Failure[object], ...]:
        """The failed inputs with their errors, in the order in which they failed."""
        return self.summary.failures

    def derive(self, errors: Sequence[Exception], /) -> ExceptionGroup[Exception]:  # type: ignore[override]
        """Make a plain group of some of the errors: `split` and `except*` need it."""
        return ExceptionGroup(self.message, errors)


def _rebuilt(
    kind: type[PoolError], args: tuple[Any, ...], state: dict[str, Any], cause: BaseException | None
) -> PoolError:
    """Make a copied or unpickled error: its constructor takes other arguments than `args`."""
    error = kind.__new__(kind, *args)
    error.args, error.__cause__ = args, cause
    error.__dict__.update(state)
    return error


def shown(thing: object) -> str:
    """Return the repr of what is the user's, at most `SHOWN` characters of it, also if it has none."""
    try:
        text = repr(thing)
    except Exception as error:
        text = f"<{type(thing).__name__}, whose repr raised {type(error).__name__}>"
    return cut(text)


def cut(text: str, length: int = SHOWN) -> str:
    """Return at most `length` characters of `text`."""
    return text if len(text) <= length else text[: length - 3] + "..."


def _inputs_of(failures: Sequence[Failure[Any]]) -> str:
    more = ", ..." if len(failures) > _INPUTS_SHOWN else ""
    return "what failed: " + ", ".join(cut(shown(failure.input), 100) for failure in failures[:_INPUTS_SHOWN]) + more


def said_yes(name: str, answer: object) -> bool:
    """Return whether `answer`, of a function `name` of the user's, is a yes. An async one has not answered at all."""
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()  # or Python would warn, later and elsewhere, that nobody awaited it
        raise TypeError(f"{name} must not be async: it returned {shown(answer)}")
    return bool(answer)


def told(error: BaseException | None) -> str:
    """Name an error as a traceback does: by its type, and by its text if it has one. Its repr is made for debuggers."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # it is the user's, and that of a broken pool must not break more
        text = ""
    return cut(f"{name}: {text}" if text else name)


for _error in [*globals().values()]:
    if isinstance(_error, type) and _error.__module__ == __name__:
        _error.__module__ = "worker_pool"  # a traceback names it as it is imported
