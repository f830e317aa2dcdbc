"""A feed is one call of `process`, `stream` or `execute`: it takes inputs from its source and counts their ends."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from ._intake import Intake
from ._outcome import Failure, Success, Summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._engine import Engine
    from ._job import Job
    from ._outcome import Outcome
    from ._worker import WorkerInfo


class Sink(Protocol):
    """Where outcomes go, by the position of their input. It calls `feed.consumed()` for each."""

    def put(self, index: int, outcome: Outcome[Any, Any] | None) -> None:
        """Take an outcome; None if this input will have none."""
        ...

    def end(self) -> None:
        """There will be no more."""
        ...


class Feed(Intake):
    """An intake, and what becomes of the jobs that were taken there."""

    window: int

    def __init__(self, engine: Engine, pull: Callable[[], Any] | None, sink: Sink | None = None) -> None:
        super().__init__(engine, pull, may_pile_up=sink is not None)
        self.sink = sink
        self.succeeded: int = 0
        self.failed: int = 0
        self.unfinished: int = 0
        self.handed_back: int = 0
        self.retried: int = 0
        self.lost: int = 0
        self.is_cancelled: bool = False  # not even what runs is wanted
        self.error: BaseException | None = None
        self.finished: anyio.Event = anyio.Event()
        self.on_failure: Callable[[Failure[Any]], None] | None = None
        self._listeners = engine.events.listeners
        self._shown = 0  # outcomes, or their absence, given to the sink
        self._delayed: set[Job] = set()

    @property
    def outstanding(self) -> int:
        """How many inputs have been taken and are not over: see `_intake`."""
        over = self._looked_at if self.sink is not None else self._looked_at + self.succeeded
        return self.taken - over

    # --- what became of a job

    @property
    def counts_only(self) -> bool:
        """Whether nobody looks at results: then they may be told by `count`."""
        return self.sink is None and not self._listeners

    def count(self, results: int) -> None:
        """So many inputs ended with results."""
        self.succeeded += results
        if self._heed:
            self._look()

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
        if retry is not None and not self.is_dropped and job.attempts < retry.attempts and retry.matches(error):
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
        if self._heed:
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
            self.poke()  # the pump has nothing more to do
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
            if self.sink is not None:  # half a window was looked at: keep up with what the workers have become
                self.window = max(self.window, 2 * self.engine.reach)
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
