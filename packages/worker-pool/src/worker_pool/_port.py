"""A port hands inputs to `worker.submit` and hears of them by `settle`: no task, future or switch per input.

How many are in flight:
* A worker that says `overlaps` runs all it has at once: it is kept full, up to `concurrency * batch` inputs.
* Any other runs them one after another. It gets more than one only as long as that is quick (see `_pace`), and two
  lists are in flight, so that the second is there when the first has ended.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from ._batch import take
from ._events import log
from ._foreign import is_of_call, is_of_one
from ._pace import Pace
from ._verdict import as_exception, timed_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._batch import Batch
    from ._host import Host
    from ._job import Job
    from ._verdict import Verdict
    from ._worker import Answer

BREATH = 64  # lists between two visits to the event loop, if the worker settles them before `submit` returns


class Port:
    """A seat with room for many. Its task only waits for the end."""

    nested = 0  # what its worker waits for is not known here

    def __init__(self, host: Host) -> None:
        worker, options = host.worker, host.engine.options
        self.host = host
        self._demand = host.engine.demand
        self._watchdog = host.engine.watchdog
        self._limit = options.execute_timeout
        self._timed_out = timed_out(self._limit)
        self.load: int = 0  # inputs that the worker has, without ...
        self._late = 0  # ... those that were given up, and still take its time
        self._submit = worker.submit
        self._overlaps = bool(getattr(worker, "overlaps", False))
        self._gives_back = bool(getattr(worker, "gives_back", False))
        batch = getattr(worker, "batch", None)
        self._longest = options.concurrency if batch is None else max(1, batch)
        self.capacity: int = options.concurrency if batch is None else options.concurrency * self._longest
        self._pace = Pace(min(self._longest, self.capacity // 2))  # so that there is room for two lists
        self._last = 0.0  # when the previous input ended
        self._batches: dict[Batch, None] = {}  # in the order of submission
        self._is_idle = False
        self._is_pumping = False
        self._more = anyio.Event()

    @property
    def room(self) -> int:
        """How many inputs it would take now."""
        return max(0, (self.capacity if self._overlaps or self._pace.target > 1 else 1) - self.load - self._late)

    @property
    def reach(self) -> int:
        """How many inputs it has at once while there are enough: two lists."""
        return self.capacity if self._overlaps else 2 * self._pace.target if self._pace.target > 1 else 1

    # --- called by others

    def wake(self) -> None:
        """See `Seat`."""
        demand = self._demand
        demand.woke()
        self._is_idle = False
        if self.load or self.host.is_fit():
            self.pump()

    def dismiss(self) -> None:
        """Take no more."""
        self._is_idle = False
        self._demand.unidle(self)
        self._more.set()

    def check(self, now: float) -> float:
        """See `Watched`."""
        late = self._check_late(now) if self._late else math.inf
        if self._limit == math.inf or self._is_held_up():
            return late  # it waits behind one that was given up: its own time has not begun
        for batch in [one for one in self._batches if 0 in one.over]:
            due = (batch.at if self._overlaps else max(batch.at, self._last)) + self._limit
            if due > now:
                return min(due, late)
            for i, job in batch.jobs():  # as it goes: what is told of one may end another
                self._give_up(batch, i, job, self._timed_out)
                if not self._overlaps:
                    return late
        return late

    def _check_late(self, now: float) -> float:
        """End a worker that keeps what was given up: it takes its time, or a place, from all that come after."""
        patience = self.host.engine.options.destroy_timeout
        if self._overlaps:
            since = min((batch.given_up_at for batch in self._batches), default=math.inf)
        elif self._is_held_up():
            since = max(next(iter(self._batches)).given_up_at, self._last)
        else:
            return now + patience  # it waits for its turn, and takes nobody's
        if since + patience > now:
            return since + patience
        self.host.leave("in doubt", now=self._is_held_up())
        return math.inf

    def cut_where(self, is_unwanted: Any, verdict: Verdict) -> None:
        """Give up the jobs that are unwanted."""
        for batch in tuple(self._batches):
            for i, job in batch.jobs():
                if is_unwanted(job):
                    self._give_up(batch, i, job, verdict)

    def abandon(self) -> Iterator[tuple[Job, float]]:
        """Give up everything, because the worker is no more."""
        for batch in tuple(self._batches):
            for i, _ in batch.jobs():
                yield batch.close(i), max(batch.at, self._last)
        self._batches.clear()
        self.load = 0

    # --- its task

    async def run(self) -> None:
        """Wait for the end of the worker; pump when `pump` had to let others run."""
        self.host.arrived(self)
        self.pump()
        self._demand.stir()
        try:
            while not self.host.leaving:
                await self._more.wait()
                self._more = anyio.Event()
                await checkpoint()
                self.pump()
            await self.host.left()
        finally:
            self._demand.part(self)

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
                batch = take(self, self._demand, size, is_watched=bool(self.host.engine.events.listeners))
                if batch is None:
                    self._is_idle, self._is_pumping = True, False
                    self._demand.idle(self)
                    self.host.seat_idle()
                    return
                self._send(batch)
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
        target = self._pace.target
        if room == self.capacity:
            return target
        behind = self.capacity - room <= target and target > 1  # at most one list waits behind another
        return target if behind and room >= target else 0

    def _send(self, batch: Batch) -> None:
        host = self.host
        engine = host.engine
        batch.at = now = perf_counter()
        host.idle_since = math.inf
        self._batches[batch] = None
        if batch.feed is None:
            for _, job in batch.jobs():
                if job.since or engine.events.listeners:
                    engine.task_starts(job, host.info, now)
        self._watchdog.expect(now + self._limit)
        try:
            self._submit(batch.inputs.copy(), batch)
        except BaseException as error:
            if not (is_of_one(error) or is_of_call(error)):
                raise
            log.exception("submit of worker %r raised", host.info.id)
            host.leave("in doubt")
            self.settled(batch, [(i, None, as_exception(error)) for i, _ in batch.jobs()])

    def settled(self, batch: Batch, answers: Sequence[Answer], more: bool = False) -> None:
        """The worker has said what became of some inputs of a list."""
        now = perf_counter()
        info, feed, over, overlaps = self.host.info, batch.feed, batch.over, self._overlaps
        is_counted = feed is not None and feed.counts_only
        started = batch.at if overlaps or batch.at > self._last else self._last
        results = 0
        for i, result, error in answers:
            if over[i]:
                self._settled_unasked(batch, i, now)
                continue
            if error is None and is_counted:
                over[i] = 1
                results += 1
                continue
            self._ended(batch, now)
            info.tasks += 1
            info.run_time += now - started
            job = batch.close(i)
            if error is None:
                job.feed.succeed(job, result, info, started, now)
            else:
                job.feed.fail(job, error, info, started, now)
            if not overlaps:
                started = now  # of those that are known at once, the first took the time
        if results and feed is not None:
            self._ended(batch, now, results)
            info.tasks += results
            info.run_time += (now - started) * (results if overlaps else 1)
            feed.count(results)
        self._proceed(batch, now, more)

    def not_started(self, batch: Batch, i: int, error: Exception | None) -> None:
        """The worker gives an input back; `error`: because it has come to its end."""
        now = perf_counter()
        if batch.over[i]:
            self._settled_unasked(batch, i, now)
        elif error is not None:
            self._ended(batch, now)
            self.host.give_back(batch.close(i), error, batch.at, now)
        else:
            self._ended(batch, now)
            if not self._overlaps:
                self._pace.was_wrong()
            self.host.engine.put_back(batch.close(i))
        self._proceed(batch, now)

    def _ended(self, batch: Batch, now: float, count: int = 1) -> None:
        self._last = now
        self.load -= count
        batch.left -= count

    def _settled_unasked(self, batch: Batch, i: int, now: float) -> None:
        """The worker has settled a job that the pool had given up, or one for the second time."""
        self.host.engine.tally.dropped += 1
        if batch.late and i in batch.late:
            del batch.late[i]
            batch.left -= 1
            self._late, self._last = self._late - 1, now
            self._watchdog.expect(now + self._limit)

    def _proceed(self, batch: Batch, now: float, more: bool = False) -> None:
        if not batch.left and batch in self._batches:
            del self._batches[batch]
            if not self._overlaps:
                self._pace.list_ended(len(batch.inputs), batch.at, now)
        if more:
            return
        host = self.host
        if host.leaving:  # it may have been the last one that was waited for
            host.leave("in doubt", now=self._is_held_up() and not self._gives_back)
        elif host.is_plain or host.is_fit():
            had_held = self._demand.has_held
            if not self._is_idle:
                self.pump()
            elif not self.load:
                host.seat_idle()
            if had_held:
                self._demand.stir()

    def _give_up(self, batch: Batch, i: int, job: Job, verdict: Verdict) -> None:
        """End a job that the worker has not settled. The worker is in doubt then, unless it says otherwise."""
        batch.give_up(i, now := perf_counter())
        self.load -= 1
        self._late += 1
        self._watchdog.expect(now + self.host.engine.options.destroy_timeout)
        verdict(job, self.host.info, batch.at if self._overlaps else max(batch.at, self._last), now)
        if not self.host.survives_cancel:
            self.host.leave("in doubt", now=self._is_held_up() and not self._gives_back)
        elif self._demand.has_held:
            self._demand.stir()  # nobody waits for this one any more: what is held may run

    def _is_held_up(self) -> bool:
        """Whether it may still be at an input that was given up, with the others behind that."""
        return not self._overlaps and bool(self._batches) and next(iter(self._batches)).is_stuck
