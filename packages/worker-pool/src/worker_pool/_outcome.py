"""What became of an input. Each ends in exactly one of these, but for what a shutdown or a stop left unfinished.

match outcome:
    case Success(input, result): ...
    case Failure(input, error): ...
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NoReturn, TypeAlias, TypeVar, dataclass_transform

T = TypeVar("T")
In_co = TypeVar("In_co", covariant=True)
Out_co = TypeVar("Out_co", covariant=True)


@dataclass_transform(frozen_default=True)
def _record(cls: type[T]) -> type[T]:
    """Make a dataclass with slots that type checkers hold to be frozen.

    At run time it has no guard: one is made per input, and the guard of a frozen dataclass triples its price.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@_record
class Success(Generic[In_co, Out_co]):
    """`execute(input)` returned `result`.

    `attempts` counts the runs, this one included; `worker` is the id of the worker of the last one; `started` is
    when that began, on the clock of `time.perf_counter()`, and `duration` how long it took, in seconds. A worker
    that settles inputs itself gives the first two only: the pool knows the rest.
    """

    input: In_co
    result: Out_co
    attempts: int = 1
    worker: object = None
    started: float = 0.0
    duration: float = 0.0

    def unwrap(self) -> Out_co:
        """Return the result."""
        return self.result


@_record
class Failure(Generic[In_co]):
    """`execute(input)` raised `error`, ran out of time, or lost its worker. The fields are those of `Success`."""

    input: In_co
    error: Exception
    attempts: int = 1
    worker: object = None
    started: float = 0.0
    duration: float = 0.0

    def unwrap(self) -> NoReturn:
        """Raise the error."""
        raise self.error


@_record
class NotStarted(Generic[In_co]):
    """A worker gives `input` back untouched, and the pool runs it elsewhere. Only for a worker with `submit`.

    To say so is a promise: nothing of this input has happened. Where that is in doubt, say `Failure`.

    `error` is why, of a worker that has come to its end: it is replaced, and the input fails with it if workers do
    nothing but end. None: the worker goes on.
    """

    input: In_co
    error: Exception | None = None


Outcome: TypeAlias = Success[In_co, Out_co] | Failure[In_co]
"""How an input can end, as its owner sees it."""

Settled: TypeAlias = Success[In_co, Out_co] | Failure[In_co] | NotStarted[In_co]
"""What a worker may say about an input it was given by `submit`."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a call of `process` did.

    The first three add up to the inputs that it took from its source. Of those from an acknowledging source some are
    in none of them: those that failed and that it will give out again (`retried`), and those that were lost before they
    had a result.
    """

    succeeded: int = 0
    """Inputs that ended with a result."""
    failed: int = 0
    """Inputs that ended with an error, after all the attempts they had."""
    unfinished: int = 0
    """Inputs that were taken but did not end, because the pool shut down or the call was stopped."""
    handed_back: int = 0
    """Those of `unfinished` that their source took back: it will give them out again."""
    retried: int = 0
    """Runs that failed and were followed by another."""
    lost: int = 0
    """Deliveries that somebody else may have now: `renew` named them, or `ack` or `nack` said False or failed.

    One that had its result by then counts beside `succeeded`.
    """
    failures: tuple[Failure[object], ...] = field(default=(), repr=False)
    """The first failures, as many as `max_errors` of the call."""
