"""Who is idle, who waits, what may start: the rules of a pool, as a synchronous object without tasks or clocks.

Three parties meet here and know nothing of each other:

* A *supply* has jobs: a call of `process`, `stream` or `execute`. When it may have one it says `ready`, and stands
  in a ring; each turn gives out one job, so that calls share the workers fairly and first come, first served.
* A *seat* runs jobs: a lane of a worker, or its port. It asks with `take`; without an answer it says `idle`.
* A *worker* has seats. The `Roster` counts them, and starts them when asked here.

Rules for editing this file:

1. A job is taken from a supply only when a seat asks for it, or when a worker is started for it: one per free slot.
2. Whenever there is work and an idle seat, a seat is waking. One at a time: only when it has asked for its job is the
   next woken. So all seats get busy, and a burst that one seat can do alone wakes only two.
3. Everything happens within one call. `take` is the hot path, once per input; `shortcut` must be forgotten wherever
   a change makes it wrong.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ._alone import Alone, J, JobLike

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._roster import Roster


J_co = TypeVar("J_co", bound=JobLike, covariant=True)


class Supply(Protocol[J_co]):
    """A call that has jobs. `next` gives one, or None: then it must say `ready` again when it has more.

    `in_stock`: how many of them it has taken already. `poke`: there may be room, fetch what must be fetched.
    `is_simple`: whether `take_now` and `take_run` do what `next` does, and no job must run alone.
    """

    @property
    def in_stock(self) -> int: ...
    @property
    def is_simple(self) -> bool: ...
    def next(self) -> J_co | None: ...
    def take_now(self) -> J_co | None: ...
    def take_run(self, size: int) -> tuple[int, list[Any]]: ...
    def poke(self) -> None: ...


class Seat(Protocol):
    """Runs jobs: `load` of them now; while idle it has `room` for so many. `wake`: call `woke` and `take`, at once, or
    soon, and then `stir`.

    `nested`: as many times it waits for other jobs of this pool, and does nothing else.
    """

    @property
    def room(self) -> int: ...
    @property
    def load(self) -> int: ...
    @property
    def nested(self) -> int: ...
    def wake(self) -> None: ...


class Demand(Generic[J]):
    """See above."""

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.shortcut: Supply[J] | None = None
        """The only supply, if `take` would simply ask it: then a seat may call its `take_now` or `take_run` instead.

        It saves two calls per input. If nothing comes, call `take` after all.
        """
        self._front: deque[J] = deque()  # taken, and waiting for a worker that starts or a seat that wakes
        self._ring: deque[Supply[J]] = deque()
        self._ringed: set[Supply[J]] = set()
        self._thirsty: dict[Supply[J], None] = {}
        self._idle: list[Seat] = []  # the last to fall idle is the first to be woken: the others may expire
        self._seats: set[Seat] = set()
        self._waking = 0  # seats that will ask soon
        self.fetching: int = 0  # inputs that supplies are fetching now, at most
        self._alone: Alone[J] = Alone(self._is_busy)
        self._is_closed = False

    # --- supplies

    def ready(self, supply: Supply[J]) -> None:
        """Note that `supply` may have a job now."""
        self.shortcut = None
        if supply not in self._ringed and not self._is_closed:
            self._ringed.add(supply)
            self._ring.append(supply)
            self._poke(supply)
        self.stir()

    def thirsty(self, supply: Supply[J]) -> None:
        """Note that `supply` wants to be poked when there may be room."""
        self._thirsty[supply] = None

    def quenched(self, supply: Supply[J]) -> None:
        """Note that it does not any more."""
        self._thirsty.pop(supply, None)

    def withdraw(self, supply: Supply[J]) -> None:
        """Give a supply no more turns. What was taken from it stays: see `purge`."""
        self.shortcut = None
        if supply in self._ringed:
            self._ringed.discard(supply)
            self._ring.remove(supply)

    def purge(self, is_unwanted: Callable[[J], bool]) -> list[J]:
        """Remove and return those taken jobs that have not started and are unwanted."""
        gone = [job for job in self._front if is_unwanted(job)]
        if gone:
            self._front = deque(job for job in self._front if not is_unwanted(job))
        if (held := self._alone.held) is not None and is_unwanted(held):
            gone.append(held)
            self._alone.forget()
            self.stir()
        if gone:
            self._poke()
        return gone

    def put_back(self, job: J) -> bool:
        """Take back a job that was not started: it is the next to run. False: nothing runs here any more."""
        if self._is_closed:
            return False
        if job is self._alone.job:
            self._alone.forget()
        self.shortcut = None
        self._front.appendleft(job)
        self.stir()
        return True

    def is_contended(self, supply: Supply[J]) -> bool:
        """Whether other supplies wait for their turn."""
        return len(self._ring) > (supply in self._ringed)

    def room(self) -> int:
        """Return how many inputs may be taken now: free slots, here or to be started, that nothing is meant for."""
        if self._is_closed or self._alone.blocks():
            return 0
        free = sum(seat.room for seat in self._idle) + self._waking
        room = free + self.roster.coming + self.roster.startable - self.waiting
        return max(0, room - sum(supply.in_stock for supply in self._ring)) if room > 0 else 0

    @property
    def waiting(self) -> int:
        """Jobs taken from a supply that no seat has yet."""
        return len(self._front) + (self._alone.held is not None)

    # --- seats

    def take(self) -> J | None:
        """Return the next job for a seat, or None; then the seat says `idle`."""
        if self._alone.job is not None:
            if self._alone.blocks():
                return None
            if self._alone.held is None:
                self.stir()  # it has ended, and the others may run now ...
                return self.take()  # ... of which one may have begun another such job by itself
            return self._alone.enter()
        if self._front:
            job = self._front.popleft()
        else:
            found = self._pull()
            if found is None:
                return None
            job = found
            if len(self._ring) == 1 and self._ring[0].is_simple:
                self.shortcut = self._ring[0]
        if job.alone:
            self.shortcut = None
            self._alone.hold(job)
            return self.take()
        return job

    def join(self, seat: Seat) -> None:
        """Make a seat known. It is not idle yet."""
        self._seats.add(seat)

    def part(self, seat: Seat) -> None:
        """Forget a seat."""
        self._seats.discard(seat)
        self.unidle(seat)
        self.stir()

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

    def looking(self) -> None:
        """A seat without a job will ask once more: as if it had been woken."""
        self._waking += 1
        self._poke()

    def woke(self) -> None:
        """A seat that was woken has come to itself. It must `take` and then `stir`, with a job or without."""
        self._waking -= 1

    def stir(self) -> None:
        """See to it that work meets a worker: wake an idle seat, else start a worker."""
        self._alone.see_end()
        while self._idle and not self._waking and self._has_work():
            self._waking += 1
            self._idle.pop().wake()
            self._alone.see_end()
        if not self._idle and not self._waking:
            self._grow()

    def room_grew(self) -> None:
        """A worker may be started where none could: look for work, also where somebody waits for room to fetch some."""
        self.stir()
        self._poke()

    @property
    def has_held(self) -> bool:
        """Whether a job waits for all others to end, so that it can run alone."""
        return self._alone.job is not None

    def close(self) -> list[J]:
        """Start nothing any more, neither job nor worker; return the jobs that were taken and have not started."""
        self._is_closed = self.roster.is_closed = True
        self.shortcut = None
        self._ring.clear()
        self._ringed.clear()
        self._thirsty.clear()
        return self.purge(lambda _: True)

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
            self.shortcut = None  # it led to this one
        return None

    def _grow(self) -> None:
        """Start a worker for each job that neither a starting worker nor an idle seat is there for."""
        while self.roster.may_start and not self._alone.blocks():
            if self.waiting > self.roster.coming:
                self.roster.start()
                continue
            job = self._pull()
            if job is None:
                return
            self.shortcut = None
            self._front.append(job)

    def _poke(self, cause: Supply[J] | None = None) -> None:
        if self._thirsty:
            for supply in tuple(self._thirsty):
                if supply is not cause:
                    supply.poke()

    def _has_work(self) -> bool:
        return not self._alone.blocks() and bool(self._front or self._ring or self._alone.held is not None)

    def _is_busy(self) -> bool:
        return any(seat.load and not seat.nested for seat in self._seats)
