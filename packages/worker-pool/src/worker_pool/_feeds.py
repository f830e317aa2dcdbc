"""A feed is one call of `process`, `stream` or `execute`: it takes inputs from its source and counts their ends.

It owns the source's iterator. What can be had at once (a plain iterable, `receive_nowait`) is taken by the seat that
wants it; what must be awaited is fetched by one task, the pump of `_pump.py`, and lies in `stock` for that moment.
An input is outstanding from when it is taken until its outcome is settled, or, in a stream, has been looked at;
no more than `window` are.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from ._job import Job
from ._outcome import Failure, Success, Summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._engine import Engine
    from ._outcome import Outcome
    from ._pump import Pump
    from ._worker import WorkerInfo


class Sink(Protocol):
    """Where outcomes go, by the position of their input. It calls `feed.consumed()` for each."""

    def put(self, index: int, outcome: Outcome[Any, Any] | None) -> None:
        """Take an outcome; None if this input will have none."""
        ...

    def end(self) -> None:
        """There will be no more."""
        ...


class Feed:
    """See above. To the demand it is a supply of jobs."""

    def __init__(self, engine: Engine, pull: Callable[[], Any] | None, sink: Sink | None = None) -> None:
        self.engine = engine
        self.sink = sink
        self.window: int = 2 * engine.slots
        self.stock: deque[Job] = deque()
        self.succeeded: int = 0
        self.failed: int = 0
        self.unfinished: int = 0
        self.handed_back: int = 0
        self.retried: int = 0
        self.lost: int = 0
        self.taken: int = 0
        self.is_ended: bool = False  # nothing more comes from the source
        self.is_dropped = False  # what has not started is not wanted any more
        self.is_cancelled = False  # nor is what runs
        self.pump: Pump | None = None  # while it runs
        self.error: BaseException | None = None
        self.finished: anyio.Event = anyio.Event()
        self.on_failure: Callable[[Failure[Any]], None] | None = None
        self.hunger: anyio.Event | None = None  # the pump waits for it
        self._listeners = engine.events.listeners
        self._pull = pull
        self._is_special = pull is None  # there may be more to `next` than to pull
        self._may_pile_up = sink is not None  # more may be outstanding than there are slots
        self._shown = 0  # outcomes, or their absence, given to the sink ...
        self._looked_at = 0  # ... and looked at there
        self._spare: Job | None = None  # one that is over, for the next input: it saves a sixth of what an input costs
        self._heed = False  # is there anything to do when an input is settled?
        self._is_parked = False  # it would take more, but for the window
        self._delayed: set[Job] = set()

    # --- a supply

    def next(self) -> Job | None:
        """See `Supply`."""
        if self._is_special:
            if self.stock:
                self.poke()
                return self.stock.popleft()
            if self.is_ended or self._pull is None:
                self.poke()
                return None
        return self.take_now()

    def take_now(self) -> Job | None:
        """Take an input from the source, which has it at once: the hot path of `next`."""
        # The first comparison is cheap, and enough most of the time.
        if self._may_pile_up and self.taken - self._looked_at >= self.window and self.outstanding >= self.window:
            self._heed = self._is_parked = True
            return None
        try:
            item = self._pull()  # type: ignore[misc]
        except Exception as error:
            self._nothing_came(error)
            return None
        index = self.taken = self.taken + 1
        job = self._spare
        if job is None:
            job = Job(self, item, index)
        else:
            self._spare = None
            job.input, job.index = item, index
        if self.is_dropped:  # the source itself has stopped this call
            self.withdrawn(job)
            return None
        return job

    @property
    def shortcut(self) -> Callable[[], Job | None] | None:
        """See `Supply`."""
        return None if self._is_special else self.take_now

    def _nothing_came(self, error: Exception) -> None:
        if isinstance(error, anyio.WouldBlock):
            self.poke()
        elif isinstance(error, (StopIteration, anyio.EndOfStream)):
            self.end()
        else:
            self.end(error)

    @property
    def outstanding(self) -> int:
        """How many inputs have been taken and are not over: see above."""
        over = self._looked_at if self.sink is not None else self._looked_at + self.succeeded
        return self.taken - over

    def poke(self) -> None:
        """See `Supply`."""
        if self.hunger is not None:
            self.hunger.set()

    @property
    def in_stock(self) -> int:
        """See `Supply`."""
        return len(self.stock)

    def wanted(self) -> int:
        """How many inputs the pump is to fetch now.

        One for each free slot; where other calls compete for every slot that becomes free, one ahead, or this
        call would never get its turn.
        """
        demand, left = self.engine.demand, self.window - self.outstanding
        if left <= 0 or self.is_ended:
            return 0
        return min(left, demand.room()) or int(not self.stock and demand.is_contended(self))

    def pump_ended(self, error: BaseException | None) -> None:
        """The pump will bring nothing more."""
        self.pump = None
        self.engine.demand.quenched(self)
        self.end(error)

    def accept(self, job: Job) -> None:
        """Take in a job that the pump has fetched."""
        self.taken += 1
        self._is_special = True
        if self.is_dropped:
            self.withdrawn(job)
        else:
            self.stock.append(job)
            self.engine.demand.ready(self)

    # --- what became of a job

    def succeed(self, job: Job, result: Any, info: WorkerInfo, started: float, ended: float) -> None:
        """`execute` returned."""
        self.succeeded += 1
        sink = self.sink
        if sink is None:
            if self._listeners:
                outcome = Success(job.input, result, job.attempts, info.id, started, ended - started)
                self.engine.tell_finished(outcome)
            job.attempts, self._spare = 1, job
            if self._heed:
                self._look()
        else:
            outcome = Success(job.input, result, job.attempts, info.id, started, ended - started)
            if self._listeners:
                self.engine.tell_finished(outcome)
            self._shown += 1
            sink.put(job.index, outcome)
            job.attempts, self._spare = 1, job
            if self.is_ended:
                self._look()

    def fail(self, job: Job, error: Exception, info: WorkerInfo, started: float, ended: float) -> None:
        """It did not return: it raised, was cut for its time, or its worker died."""
        failure = Failure(job.input, error, job.attempts, info.id, started, ended - started)
        retry = self.engine.options.retry
        again = retry is not None and not self.is_dropped and job.attempts < retry.attempts and retry.matches(error)
        if again and retry is not None:
            self.engine.tell_finished(failure, again=True)
            self._run_again(job, retry.delay(job.attempts))
        else:
            self._failed(job, failure)

    def _failed(self, job: Job, failure: Failure[Any]) -> None:
        self.failed += 1
        self._publish(job, failure)
        if self.on_failure is not None:
            self.on_failure(failure)
        if self.sink is None:
            self.consumed()

    def _publish(self, job: Job, outcome: Outcome[Any, Any]) -> None:
        self.engine.tell_finished(outcome)
        if self.sink is not None:
            self._show(job, outcome)

    def withdrawn(self, job: Job, *_: object) -> None:
        """It ended without an outcome: not started, or cut because nobody wants it any more."""
        self.unfinished += 1
        self._over(job)

    def _over(self, job: Job) -> None:
        """It ended without an outcome."""
        if self.sink is not None:
            self._show(job, None)
        else:
            self.consumed()

    def _show(self, job: Job, outcome: Outcome[Any, Any] | None) -> None:
        self._shown += 1
        assert self.sink is not None
        self.sink.put(job.index, outcome)
        if self.is_ended:
            self._look()

    @property
    def is_settled(self) -> bool:
        """Whether nothing will come from here any more, though outcomes may still have to be looked at."""
        return (
            self.is_ended and self.pump is None and (self.taken == self._shown if self.sink else not self.outstanding)
        )

    def widen(self, window: int) -> None:
        """Workers can hold more than was known."""
        self.window = window
        if self._heed:
            self._look()

    def _run_again(self, job: Job, delay: float) -> None:
        self.retried += 1
        job.attempts += 1
        self._delayed.add(job)
        self._may_pile_up = True

        def requeue() -> None:
            if job in self._delayed:
                self._delayed.discard(job)
                job.since = perf_counter()
                self.engine.put_back(job)

        self.engine.watchdog.call_later(delay, requeue)

    def consumed(self) -> None:
        """An outcome has been looked at, or there will be none to look at: a place in the window is free."""
        self._looked_at += 1
        if self._heed and (not self._is_parked or self.taken - self._looked_at <= self.window // 2 or self.is_ended):
            self._look()
        if self.hunger is not None:
            self.hunger.set()

    # --- the end

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes: the source has ended, or `error` was its end, or it is not asked any more."""
        if self.error is None:
            self.error = error
        if not self.is_ended:
            self.is_ended = self._is_special = self._heed = True
            self._is_parked = False
            if not self.stock:
                self.engine.demand.withdraw(self)
        self._look()

    def cancel(self, error: BaseException | None = None) -> None:
        """Nothing is wanted any more: end, take back what has not started, and cut what runs."""
        self.drop_unstarted(error)
        if not self.is_cancelled:
            self.is_cancelled = True
            self.engine.cut(lambda job: job.feed is self, self.withdrawn)

    def drop_unstarted(self, error: BaseException | None = None) -> None:
        """End, and take back what has not started."""
        self.is_dropped = True
        self.end(error)
        self.engine.demand.withdraw(self)
        unstarted = [*self.stock, *self._delayed, *self.engine.demand.purge(lambda job: job.feed is self)]
        self.stock.clear()
        self._delayed.clear()
        for job in unstarted:
            self.withdrawn(job)
        if self.pump is not None:
            self.pump.stop()

    def _look(self) -> None:
        """Do what waits for inputs to be settled."""
        if self.is_ended:
            if not self.outstanding and self.pump is None:
                self._finish()
            elif self.engine.is_closed:
                self.engine.check_quiet()
        elif self._is_parked and self.outstanding <= self.window // 2:
            self._heed = self._is_parked = False
            self.engine.demand.ready(self)

    def _finish(self) -> None:
        if not self.finished.is_set():
            self.finished.set()
            if self.sink is not None:
                self.sink.end()
            self.engine.feed_finished(self)

    def summary(self, failures: tuple[Failure[object], ...] = ()) -> Summary:
        """Return the counts."""
        return Summary(
            self.succeeded,
            self.failed,
            self.unfinished,
            self.handed_back,
            self.retried,
            self.lost,
            failures,
        )
