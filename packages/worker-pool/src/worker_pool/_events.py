"""What a pool tells about itself while it works, to any number of listeners.

    def show(event: Event) -> None:
        match event:
            case TaskFinished(outcome): ...

    remove = pool.listen(show)

Listeners are called synchronously, where it happens, in the order in which they came. One that raises is logged and
stays. Times are seconds on the clock of `time.perf_counter()`. Without listeners no event is made.

Not every `TaskStarted` is followed by a `TaskFinished`: that tells an outcome, and a run that was cut because nobody
wants it any more (its call was cancelled, the grace of a shutdown was over, its lease was lost) has none.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from ._foreign import is_of_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._outcome import Outcome
    from ._worker import WorkerInfo

log = logging.getLogger("worker_pool")


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A worker is ready. `took`: seconds from the decision to start it."""

    worker: WorkerInfo
    took: float


@dataclass(frozen=True, slots=True)
class WorkerStartFailed:
    """A worker could not be started. `failures`: how many in a row, this one included."""

    error: BaseException
    failures: int


@dataclass(frozen=True, slots=True)
class WorkerStopped:
    """A worker is gone. `reason` is one word or two: idle, retired, inactive, in doubt, closed, crashed.

    `error`: what its ending raised, if anything.
    """

    worker: WorkerInfo
    reason: str
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """An input was given to a worker. `attempt` is 1 for its first run; `waited`: seconds it waited for that.

    No `TaskFinished` follows if the run is cut because nobody wants it any more, or if the worker says that it has
    not begun: then the input is given to another, which is told anew.
    """

    input: Any
    worker: WorkerInfo
    attempt: int
    waited: float


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """A run of an input has ended, with an outcome. `again`: it failed and will be run again: that was not the last.

    A run that is cut because nobody wants it any more (a cancelled call, a shutdown, a lost lease) has none, and
    no such event.
    """

    outcome: Outcome[Any, Any]
    again: bool = False


Event: TypeAlias = WorkerStarted | WorkerStartFailed | WorkerStopped | TaskStarted | TaskFinished
"""Whatever a pool tells its listeners."""


class Events:
    """The listeners of one pool. Truth: is there anybody to tell?"""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Event], object]] = []

    def __bool__(self) -> bool:
        return bool(self.listeners)

    def listen(self, listener: Callable[[Event], object]) -> Callable[[], None]:
        """Add a listener; return a function that removes it, and not another registration of the same function."""
        own = partial(listener)  # equal to itself alone
        self.listeners.append(own)

        def remove() -> None:
            if own in self.listeners:
                self.listeners.remove(own)

        return remove

    def tell(self, event: Event) -> None:
        """Call every listener with `event`."""
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except BaseException as error:
                if not is_of_call(error):
                    raise
                log.exception("a listener raised on %r", event)
