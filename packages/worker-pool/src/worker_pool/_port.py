"""A port hands inputs to `worker.submit` and hears of them by `settle`: no task, future or switch per input.

How many are in flight:

* A worker that says `overlaps` runs all it has at once: it is kept full, up to `concurrency * batch` inputs.
* Any other runs them one after another. What waits behind the first could run elsewhere, so it gets more than one
  only as long as that is quick: lists hold as many inputs as take `QUANTUM` seconds by what was measured, twice as
  many at most as before, and two lists are in flight, so that the second is there when the first has ended.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from ._batch import Batch
from ._errors import TaskTimeout
from ._events import log
from ._outcome import Failure, NotStarted, Settled, Success

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._host import Host
    from ._job import Job
    from ._lane import Verdict

QUANTUM = 0.001  # seconds of work in one list: long beside a message (20 us), short beside what anybody notices
BREATH = 64  # lists between two visits to the event loop, if the worker settles them before `submit` returns


class Port:
    """A seat with room for many. Its task only waits for the end."""

    def __init__(self, host: Host) -> None:
        worker, options = host.worker, host.engine.options
        self.host = host
        self.load: int = 0  # inputs that the worker has, without ...
        self._late = 0  # ... those that were given up, and still take its time
        self._submit = worker.submit
        self._overlaps = bool(getattr(worker, "overlaps", False))
        batch = getattr(worker, "batch", None)
        self._longest = options.concurrency if batch is None else max(1, batch)
        self.capacity: int = options.concurrency if batch is None else options.concurrency * self._longest
        self._target = 1 if not self._overlaps else self._longest
        self._pace = math.inf  # seconds per input, measured
        self._last = 0.0  # when the previous input ended
        self._list_ended = 0.0  # ... and the previous list
        self._batches: dict[Batch, None] = {}  # in the order of submission
        self._is_idle = False
        self._is_pumping = False
        self._more = anyio.Event()

    @property
    def room(self) -> int:
        """How many inputs it would take now."""
        return max(0, (self.capacity if self._overlaps or self._target > 1 else 1) - self.load - self._late)

    # --- called by others

    def wake(self) -> None:
        """See `Seat`."""
        demand = self.host.engine.demand
        demand.woke()
        self._is_idle = False
        if self.load or self.host.is_fit():
            self.pump()
        demand.stir()

    def dismiss(self) -> None:
        """Take no more."""
        self._is_idle = False
        self.host.engine.demand.unidle(self)
        self._more.set()

    def check(self, now: float) -> float:
        """See `Watched`."""
        limit = self.host.engine.options.execute_timeout
        if limit == math.inf or (self._late and not self._overlaps):
            return math.inf  # in line behind one that was given up nobody's time runs
        for batch in tuple(self._batches):
            due = (batch.at if self._overlaps else max(batch.at, self._last)) + limit
            overdue = [job for job in batch.jobs if job is not None]
            if due > now and overdue:
                return due
            for job in overdue if self._overlaps else overdue[:1]:
                self._give_up(batch, job, self._time_out)
                if not self._overlaps:
                    return math.inf
        return math.inf

    def cut_where(self, is_unwanted: Any, verdict: Verdict) -> None:
        """Give up the jobs that are unwanted."""
        for batch in tuple(self._batches):
            for job in batch.jobs:
                if job is not None and is_unwanted(job):
                    self._give_up(batch, job, verdict)

    def abandon(self) -> Iterator[tuple[Job, float]]:
        """Give up everything, because the worker is no more."""
        for batch in tuple(self._batches):
            for i, job in enumerate(batch.jobs):
                if job is not None:
                    batch.jobs[i] = None
                    yield job, max(batch.at, self._last)
        self._batches.clear()
        self.load = 0

    # --- its task

    async def run(self) -> None:
        """Wait for the end of the worker; pump when `pump` had to let others run."""
        self.host.arrived(self)
        self.pump()
        self.host.engine.demand.stir()
        try:
            while not self.host.leaving:
                await self._more.wait()
                self._more = anyio.Event()
                await checkpoint()
                self.pump()
            await self.host.left()
        finally:
            self.host.engine.demand.part(self)

    # --- the flow

    def pump(self) -> None:
        """Submit what is ready, as far as there is room."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            for _ in range(BREATH):
                size = self._wanted()
                if size <= 0:
                    return
                jobs = self._take(size)
                if not jobs:
                    self._is_idle, self._is_pumping = True, False
                    self.host.engine.demand.idle(self)
                    self.host.lane_idle()
                    return
                self._send(jobs)
            self._more.set()
        finally:
            self._is_pumping = False

    def _wanted(self) -> int:
        """How many inputs the next list is to hold; 0: none now."""
        if self.host.leaving:
            return 0
        room = self.capacity - self.load - self._late
        if self._overlaps:
            return min(self._longest, room)
        if room == self.capacity:
            return self._target
        behind = self.capacity - room <= self._target and self._target > 1  # at most one list waits behind another
        return self._target if behind and room >= self._target else 0

    def _take(self, size: int) -> list[Job]:
        demand = self.host.engine.demand
        take = demand.take
        jobs: list[Job] = []
        while len(jobs) < size:
            shortcut = demand.shortcut
            job = take() if shortcut is None else (shortcut() or take())
            if job is None:
                break
            self.load += 1
            jobs.append(job)
        return jobs

    def _send(self, jobs: list[Job]) -> None:
        host = self.host
        now = perf_counter()
        batch = Batch(self, jobs, now)
        self._batches[batch] = None
        listeners = host.engine.events.listeners
        for job in jobs:
            if job.since or listeners:
                host.engine.task_starts(job, host.info, now)
        host.engine.watchdog.expect(now + host.engine.options.execute_timeout)
        try:
            self._submit([job.input for job in jobs], batch)
        except Exception as error:
            log.exception("submit of worker %r raised", host.info.id)
            host.leave("in doubt")
            for i, job in enumerate(jobs):
                batch(i, Failure(job.input, error))

    def settled(self, batch: Batch, outcomes: Iterable[tuple[int, Settled[Any, Any]]]) -> None:
        """The worker has said what became of some jobs of a list."""
        now = perf_counter()
        jobs, info = batch.jobs, self.host.info
        started = batch.at if self._overlaps or batch.at > self._last else self._last
        for i, outcome in outcomes:
            job = jobs[i]
            if job is None:
                self._settled_unasked(batch, i, now)
                continue
            jobs[i] = None
            self.load -= 1
            batch.left -= 1
            self._last = now
            if type(outcome) is NotStarted:
                self._not_started(job, outcome.error, started, now)
                continue
            info.tasks += 1
            info.run_time += now - started
            if type(outcome) is Success:
                job.feed.succeed(job, outcome.result, info, started, now)
            else:
                job.feed.fail(job, outcome.error, info, started, now)  # type: ignore[union-attr,arg-type]
            if not self._overlaps:
                started = now  # of those that are known at once, the first took the time
        if not batch.left:
            self._list_has_ended(batch, now)
        self._continue()

    def _not_started(self, job: Job, error: Exception | None, started: float, now: float) -> None:
        if error is not None:
            self.host.give_back(job, error, started, now)
            return
        if not self._overlaps:
            self._target = 1  # it is slower than was measured: this one is not to come back to wait here
        self.host.engine.put_back(job)

    def _settled_unasked(self, batch: Batch, i: int, now: float) -> None:
        """The worker has settled a job that the pool had given up, or one for the second time."""
        self.host.engine.tally.dropped += 1
        if batch.late and i in batch.late:
            batch.late.discard(i)
            batch.left -= 1
            self._late -= 1
            self._last = now
            self.host.engine.watchdog.expect(now + self.host.engine.options.execute_timeout)

    def _list_has_ended(self, batch: Batch, now: float) -> None:
        if batch in self._batches:
            del self._batches[batch]
            self._measure((now - max(batch.at, self._list_ended)) / len(batch.jobs))
            self._list_ended = now

    def _continue(self) -> None:
        host = self.host
        if host.leaving:
            host.leave("in doubt")  # it may have been the last one that was waited for
        elif host.is_plain or host.is_fit():
            if not self._is_idle:
                self.pump()
            elif host.engine.demand.has_held:
                host.engine.demand.stir()

    def _measure(self, seconds: float) -> None:
        """Learn the pace, and set the length of lists by it: at once down, and up by steps."""
        if self._overlaps or self._longest == 1:
            return
        self._pace = max(seconds, (min(self._pace, 1.0) + seconds) / 2, 1e-7)
        longest = min(self._longest, self.capacity // 2)  # so that there is room for two
        self._target = max(1, min(longest, self._target * 2, int(QUANTUM / self._pace)))

    def _give_up(self, batch: Batch, job: Job, verdict: Verdict) -> None:
        """End a job that the worker has not settled. The worker is in doubt then, unless it says otherwise."""
        i = batch.jobs.index(job)
        batch.jobs[i] = None
        batch.late = {i, *(batch.late or ())}
        self.load -= 1
        self._late += 1
        since = batch.at if self._overlaps else max(batch.at, self._last)
        verdict(job, self.host.info, since, perf_counter())
        if not self.host.survives_cancel:
            self.host.leave("in doubt", now=not self._overlaps)
        elif self.host.engine.demand.has_held:
            self.host.engine.demand.stir()  # nobody waits for this one any more: what is held may run

    def _time_out(self, job: Job, info: Any, started: float, ended: float) -> None:
        job.feed.fail(job, TaskTimeout(self.host.engine.options.execute_timeout), info, started, ended)
