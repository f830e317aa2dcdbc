"""The workers of a pool, counted from the decision to start one until it is gone. Synchronous, without clocks."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Phase(Enum):
    """The life of a worker, in order. One that is gone is not known any more."""

    STARTING = "starting"
    ALIVE = "alive"
    LEAVING = "leaving"


MAX_REST = 30.0  # seconds between two attempts to start a worker, at most


class Roster:
    """Never more than `max_size` workers in all phases together, and `max_starting` that start.

    `launch()` begins a start and returns the key of the new worker. After a failed start there is a rest; after
    `max_failures` of them in a row, when no worker is left that works or may yet, the roster is broken for good.
    """

    def __init__(
        self,
        launch: Callable[[], Hashable],
        *,
        max_size: int,
        min_size: int = 0,
        concurrency: int = 1,
        max_starting: int = 1,
        max_failures: int = 3,
        backoff: float = 0.1,
    ) -> None:
        self._launch = launch
        self.max_size = max_size
        self.min_size = min_size
        self.concurrency = concurrency
        self.max_starting = max_starting
        self.max_failures = max_failures
        self._backoff = backoff
        self.phases: dict[Hashable, Phase] = {}
        self.failures: int = 0  # starts that failed in a row
        self.stillborn: int = 0  # workers in a row that soon ended by themselves, with nothing to do
        self.futile: int = 0  # workers that ended in a row and had not even begun the first input they were given
        self._succeeded = 0  # inputs, when that was last looked at
        self.broken: BaseException | None = None
        self.is_closed = False
        self._rests = 0  # that are not over

    def count(self, phase: Phase) -> int:
        """Return how many workers are in `phase`."""
        return sum(one is phase for one in self.phases.values())

    @property
    def coming(self) -> int:
        """Slots of the workers that start."""
        return self.count(Phase.STARTING) * self.concurrency

    @property
    def startable(self) -> int:
        """Slots of the workers that may still be started, now or after a rest."""
        return (self.max_size - len(self.phases)) * self.concurrency

    @property
    def may_start(self) -> bool:
        """Whether a worker may be started now."""
        return (
            not self.is_closed
            and not self._rests
            and len(self.phases) < self.max_size
            and self.count(Phase.STARTING) < self.max_starting
        )

    @property
    def can_spare_one(self) -> bool:
        """Whether more than `min_size` are here or coming."""
        return len(self.phases) - self.count(Phase.LEAVING) > self.min_size

    def start(self) -> None:
        """Start a worker."""
        self.phases[self._launch()] = Phase.STARTING

    def fill(self) -> None:
        """Start workers up to `min_size`."""
        while self.may_start and len(self.phases) - self.count(Phase.LEAVING) < self.min_size:
            self.start()

    def started(self, worker: Hashable) -> None:
        """A worker is ready."""
        self.phases[worker] = Phase.ALIVE
        self.failures = 0
        self.fill()

    def start_failed(self, worker: Hashable, error: BaseException, *, is_stuck: bool = False) -> float:
        """A worker could not be started. Nothing is started until `rested`, to be called after so many seconds.

        `is_stuck`: those that are here wait for one that is not.
        """
        del self.phases[worker]
        self.failures += 1
        may_help = self.count(Phase.STARTING) or (self.count(Phase.ALIVE) and not is_stuck)
        if self.failures >= self.max_failures and not may_help:
            self.broken = error
        return self._rest(self.failures)

    def _rest(self, failures: int) -> float:
        self._rests += 1
        return min(self._backoff * 2.0 ** min(failures - 1, 20), MAX_REST)

    def rested(self) -> None:
        """The rest after one failed start is over. If others failed since, theirs go on."""
        self._rests = max(0, self._rests - 1)
        self.fill()

    def leaving(self, worker: Hashable) -> None:
        """A worker takes nothing more. It counts until it is gone."""
        self.phases[worker] = Phase.LEAVING

    def ended_unstarted(self, has_worked: bool, succeeded: int) -> bool:
        """A worker came to its end before it began what it was given; return whether others may be tried with that.

        All that are here may have been killed at once. More than that, and as many as starts may fail, is no accident:
        a program that dies whenever it is ready would be started for ever. Where inputs succeed, somebody else kills.
        """
        if has_worked or succeeded != self._succeeded:
            self.futile, self._succeeded = 0, succeeded
        self.futile += not has_worked
        return self.futile < self.max_size + self.max_failures

    def gone(self, worker: Hashable, *, is_stillborn: bool = False) -> float | None:
        """A worker is no more. `is_stillborn`: it soon ended by itself, and others wait as after a failed start."""
        self.phases.pop(worker, None)
        if is_stillborn:
            self.stillborn += 1
            return self._rest(self.stillborn)
        self.stillborn = 0
        self.fill()
        return None
