"""Who is idle, who waits, what may start: the rules of a pool, as a synchronous object without tasks or clocks.

Three parties meet here and know nothing of each other:

* A *supply* has jobs: a call of `process`, `stream` or `execute`. When it may have one it says `ready`, and stands
  in a ring; each turn gives out one job, so that calls share the workers fairly and first come, first served.
* A *seat* runs jobs: a lane of a worker, or its port. It asks with `take`; without an answer it says `idle`.
* A *worker* is started, alive, leaving and gone. It is counted from the first to the last: never more than
  `max_size` at once, however slowly they leave.

Rules for editing this file:

1. A job is taken from a supply only when a seat asks for it, or when a worker is started for it: one per free slot.
2. Whenever there is work and an idle seat, a seat is waking. One at a time: having taken its job it calls `stir`,
   which wakes the next. So all seats get busy, and a burst that one seat can do alone wakes only two.
3. Everything happens within one call. `take` is the hot path, once per input.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class JobLike(Protocol):
    """What must be known of a job here."""

    @property
    def alone(self) -> bool:
        """Whether nothing else may run beside it."""
        ...


J = TypeVar("J", bound=JobLike)
J_co = TypeVar("J_co", bound=JobLike, covariant=True)


class Supply(Protocol[J_co]):
    """A call that has jobs. `next` gives one, or None: then it must say `ready` again when it has more.

    `in_stock`: how many of them it has taken already. `poke`: there may be room, fetch what must be fetched.
    """

    @property
    def in_stock(self) -> int: ...
    def next(self) -> J_co | None: ...

    def poke(self) -> None: ...


class Seat(Protocol):
    """Runs jobs. While idle it has `room` for so many; `load` is how many it runs."""

    @property
    def room(self) -> int: ...
    @property
    def load(self) -> int: ...
    def wake(self) -> None:
        """There is work: call `woke`, then `take`, then `stir`; now or soon."""


class Phase(Enum):
    """The life of a worker, in order. One that is gone is not known any more."""

    STARTING = "starting"
    ALIVE = "alive"
    LEAVING = "leaving"


class Demand(Generic[J]):
    """See above. `launch()` begins a start and returns the key of the new worker."""

    def __init__(
        self,
        launch: Callable[[], Hashable],
        *,
        max_size: int,
        min_size: int = 0,
        concurrency: int = 1,
        max_starting: int = 1,
        max_failures: int = 3,
    ) -> None:
        self._launch = launch
        self.max_size = max_size
        self.min_size = min_size
        self.concurrency = concurrency
        self.max_starting = max_starting
        self.max_failures = max_failures
        self.failures = 0  # starts that failed in a row
        self.broken: BaseException | None = None
        self.closed = False
        self.phases: dict[Hashable, Phase] = {}
        self._front: deque[J] = deque()  # taken, and waiting for a worker that starts or a seat that wakes
        self._ring: deque[Supply[J]] = deque()
        self._ringed: set[Supply[J]] = set()
        self._thirsty: set[Supply[J]] = set()
        self._idle: list[Seat] = []  # the last to fall idle is the first to be woken: the others may expire
        self._seats: set[Seat] = set()
        self._waking = 0
        self._resting = False  # between a failed start and the next try
        self._alone: J | None = None  # a job that must run beside nothing: it waits for that, or
        self._alone_runs = False

    # --- supplies

    def ready(self, supply: Supply[J]) -> None:
        """Note that `supply` may have a job now."""
        if supply not in self._ringed and not self.closed:
            self._ringed.add(supply)
            self._ring.append(supply)
            self._poke(supply)
        self.stir()

    def thirsty(self, supply: Supply[J], is_thirsty: bool = True) -> None:
        """Note that `supply` wants to be poked when there is room, or no longer."""
        if is_thirsty:
            self._thirsty.add(supply)
        else:
            self._thirsty.discard(supply)

    def withdraw(self, supply: Supply[J]) -> None:
        """Forget a supply. What was taken from it stays: see `purge`."""
        self._thirsty.discard(supply)
        if supply in self._ringed:
            self._ringed.discard(supply)
            self._ring.remove(supply)

    def purge(self, is_unwanted: Callable[[J], bool]) -> list[J]:
        """Remove and return those taken jobs that have not started and are unwanted."""
        gone = [job for job in self._front if is_unwanted(job)]
        if gone:
            self._front = deque(job for job in self._front if not is_unwanted(job))
        if self._alone is not None and not self._alone_runs and is_unwanted(self._alone):
            gone.append(self._alone)
            self._alone = None
            self.stir()
        return gone

    def put_back(self, job: J) -> bool:
        """Take back a job that was not started: it is the next to run. False: nothing runs here any more."""
        if job is self._alone:
            self._alone = None
        if not self.closed:
            self._front.appendleft(job)
            self.stir()
        return not self.closed

    @property
    def waiting(self) -> int:
        """Jobs taken from a supply that no seat has yet."""
        return len(self._front) + (self._alone is not None and not self._alone_runs)

    # --- seats

    def take(self) -> J | None:
        """Return the next job for a seat, which has none that it did not say `idle` of."""
        if self._alone is not None:
            if self._is_gated():
                return None
            if self._alone is not None:
                self._alone_runs = True
                return self._alone
        job = self._front.popleft() if self._front else self._pull()
        if job is not None and job.alone:
            self._alone, self._alone_runs = job, False
            return self.take()
        return job

    def join(self, seat: Seat) -> None:
        """Make a seat known. It is not idle yet."""
        self._seats.add(seat)

    def part(self, seat: Seat) -> None:
        """Forget a seat."""
        self._seats.discard(seat)
        self.unidle(seat)

    def idle(self, seat: Seat) -> None:
        """Note that `seat` asked for a job and got none."""
        self._idle.append(seat)
        self._poke()

    def unidle(self, seat: Seat) -> bool:
        """Note that `seat` is not to be woken; return whether it was idle."""
        if seat not in self._idle:
            return False
        self._idle.remove(seat)
        return True

    def woke(self) -> None:
        """A seat that was woken has come to itself. It must call `stir` afterwards, with a job or without."""
        self._waking -= 1

    def stir(self) -> None:
        """See to it that work meets a worker: wake an idle seat, else start a worker."""
        while self._idle and not self._waking and self._has_work():
            self._waking += 1
            self._idle.pop().wake()
        if not self._idle and not self._waking:
            self._grow()

    @property
    def idle_seats(self) -> list[Seat]:
        """The seats that wait for work; the one that was used last is last."""
        return list(self._idle)

    def room(self) -> int:
        """Return how many inputs may be taken now: free slots, here or to be started, that nothing is meant for."""
        if self.closed or (self._alone is not None and self._is_gated()):
            return 0
        free = sum(seat.room for seat in self._idle) - self._waking
        startable = self.max_size - len(self.phases) + self._count(Phase.STARTING)
        room = free + startable * self.concurrency - self.waiting
        return max(0, room - sum(supply.in_stock for supply in self._ring)) if room > 0 else 0

    def is_contended(self, supply: Supply[J]) -> bool:
        """Whether other supplies wait for their turn."""
        return len(self._ring) > (supply in self._ringed)

    @property
    def is_gated(self) -> bool:
        """Whether a job that must run alone holds everything else up."""
        return self._alone is not None

    # --- workers

    def started(self, worker: Hashable) -> None:
        """A worker is ready."""
        self.phases[worker] = Phase.ALIVE
        self.failures = 0

    def start_failed(self, worker: Hashable, error: BaseException) -> None:
        """A worker could not be started. Nothing is started until `rested` is called; too often, and it breaks."""
        del self.phases[worker]
        self.failures += 1
        self._resting = True
        if self.failures >= self.max_failures and not self._count(Phase.ALIVE) + self._count(Phase.STARTING):
            self.broken = error

    def rested(self) -> None:
        """Enough time has passed since the last failed start."""
        self._resting = False
        self.fill()
        self.stir()

    def leaving(self, worker: Hashable) -> None:
        """A worker takes nothing more. It counts until it is gone."""
        self.phases[worker] = Phase.LEAVING

    def gone(self, worker: Hashable) -> None:
        """A worker is no more, and another may be started in its place."""
        if self.phases.pop(worker, None) is not None:
            self.fill()
            self.stir()

    def fill(self) -> None:
        """Start workers up to `min_size`."""
        while self._may_start() and len(self.phases) - self._count(Phase.LEAVING) < self.min_size:
            self._start()

    def close(self) -> list[J]:
        """Start nothing any more, neither job nor worker; return the jobs that were taken and have not started."""
        self.closed = True
        unstarted = self.purge(lambda _: True)
        self._ring.clear()
        self._ringed.clear()
        self._thirsty.clear()
        return unstarted

    # --- within

    def _pull(self) -> J | None:
        """Ask the supplies in turn."""
        ring = self._ring
        while ring:
            supply = ring[0]
            job = supply.next()
            if job is not None:
                if len(ring) > 1 and ring[0] is supply:
                    ring.rotate(-1)
                return job
            if supply in self._ringed:  # it may have been withdrawn while it looked
                self._ringed.discard(supply)
                ring.remove(supply)
        return None

    def _poke(self, cause: Supply[J] | None = None) -> None:
        if self._thirsty:
            for supply in tuple(self._thirsty):
                if supply is not cause:
                    supply.poke()

    def _has_work(self) -> bool:
        if self._alone is not None:
            return not self._is_gated() and (self._alone is not None or bool(self._front or self._ring))
        return bool(self._front or self._ring)

    def _is_gated(self) -> bool:
        """Whether the job that must run alone forbids to start anything. One that has ended is forgotten here."""
        if any(seat.load for seat in self._seats):
            return True
        if self._alone_runs:
            self._alone, self._alone_runs = None, False
        return False

    def _grow(self) -> None:
        """Start a worker for each job that neither a starting worker nor an idle seat is there for."""
        if self._alone is not None and self._is_gated():
            return
        while self._may_start():
            coming = self._count(Phase.STARTING) * self.concurrency
            if self.waiting > coming:
                self._start()
                continue
            job = self._pull()
            if job is None:
                return
            self._front.append(job)

    def _may_start(self) -> bool:
        return (
            not self.closed
            and not self._resting
            and len(self.phases) < self.max_size
            and self._count(Phase.STARTING) < self.max_starting
        )

    def _start(self) -> None:
        self.phases[self._launch()] = Phase.STARTING

    def _count(self, phase: Phase) -> int:
        return sum(one is phase for one in self.phases.values())
