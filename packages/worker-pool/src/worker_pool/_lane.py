"""A lane runs one input after another through `worker.execute`. A worker has `concurrency` of them, a task each.

The loop in `_run` is the hot path: no task, lock, scope, event or clock beyond what one input needs. One scope is
kept around many inputs; to cut one of them short it is cancelled, and the next has a new scope.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from ._errors import TaskAborted, TaskTimeout
from ._events import TaskStarted, log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._host import Host
    from ._job import Job
    from ._worker import WorkerInfo

Verdict: TypeAlias = Callable[["Job", "WorkerInfo", float, float], None]
"""What to do with a job that was cut short: called with the job, its worker, and when it began and ended."""

BREATH = 64  # inputs between two visits to the event loop, if none of them suspends: 0.05 us per input
LONGEST = 0.001  # ... or seconds, whichever comes first: other tasks wait no longer than that

current_lane: ContextVar[Lane | None] = ContextVar("current_lane", default=None)
"""The lane whose input is being executed, in its task and in those that it starts."""


class Lane:
    """One task that runs jobs. To the demand it is a seat with room for one."""

    room = 1

    def __init__(self, host: Host) -> None:
        self.host = host
        self.nested = 0  # calls of its own pool that its input waits for
        self.job: Job | None = None
        self.since = 0.0
        self._limit = host.engine.options.execute_timeout
        self._resetting = False  # in `release`
        self._verdict: Verdict | None = None
        self._scope = anyio.CancelScope()
        self._woken: anyio.Event | None = None

    @property
    def load(self) -> int:
        """1 while it runs a job, else 0."""
        return int(self.job is not None)

    # --- called by others

    def wake(self) -> None:
        """See `Seat`."""
        if self._woken is not None:
            self._woken.set()

    def check(self, now: float) -> float:
        """See `Watched`."""
        if (self.job is None and not self._resetting) or self._verdict is not None:
            return math.inf
        due = self.since + self._limit
        if due > now:
            return due
        self.cut(self._time_out)
        return math.inf

    def cut(self, verdict: Verdict) -> None:
        """Cancel what runs here; `verdict` will be its end, unless it ends by itself in this very moment."""
        if self._verdict is None:
            self._verdict = verdict
            self._scope.cancel()

    def cut_where(self, is_unwanted: Callable[[Job], bool], verdict: Verdict) -> None:
        """Cut what runs here if it is unwanted."""
        if self.job is not None and is_unwanted(self.job):
            self.cut(verdict)

    def dismiss(self) -> None:
        """Come to an end: the worker is leaving."""
        if self._woken is not None:
            self._woken.set()

    def abandon(self) -> Iterator[tuple[Job, float]]:
        """Give up what is left here, because the worker is no more."""
        if self.job is not None:
            job, self.job = self.job, None
            yield job, self.since

    # --- its task

    async def run(self) -> None:
        """Run jobs until the worker leaves."""
        current_lane.set(self)
        demand = self.host.engine.demand
        demand.join(self)
        try:
            while not self.host.leaving:
                job = demand.take() or await self._wait()
                if job is not None:
                    await self._run_under_scope(job)
        finally:
            demand.part(self)

    async def _wait(self) -> Job | None:
        """Sleep until there is work, or the worker is to leave."""
        demand = self.host.engine.demand
        self._woken = anyio.Event()
        demand.idle(self)
        self.host.lane_idle()
        is_awake = False
        try:
            await self._woken.wait()
            is_awake = True
        finally:
            self._woken = None
            if not demand.unidle(self):  # it was woken for work
                demand.woke()
                if not is_awake:
                    demand.stir()
        if self.host.leaving or not self.host.is_fit():
            demand.stir()
            return None
        job = demand.take()
        demand.stir()
        return job

    async def _run_under_scope(self, job: Job) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                await self._run(job)
        except Exception:
            if self._verdict is None:
                raise
            log.debug("an execute that was cut short raised", exc_info=True)
        verdict, self._verdict, cut_job, self.job = self._verdict, None, self.job, None
        if verdict is not None and cut_job is not None:
            verdict(cut_job, self.host.info, self.since, perf_counter())
            if not self.host.survives_cancel:
                self.host.leave("in doubt")

    async def _run(self, job: Job) -> None:
        host = self.host
        engine, info = host.engine, host.info
        execute, take, listeners = host.worker.execute, engine.demand.take, engine.events.listeners
        is_plain = host.is_plain
        breath, breathed = BREATH, (started := perf_counter())
        engine.watchdog.expect(started + self._limit)
        while True:
            self.since, self.job = started, job
            if job.since:
                job.feed.wait_time += started - job.since
            if listeners:
                engine.events.tell(TaskStarted(job.input, info, job.attempts, started - (job.since or started)))
            try:
                result = await execute(job.input)
            except Exception as error:
                if self._verdict is not None:
                    raise
                ended = perf_counter()
                self.job = None
                info.tasks += 1
                info.run_time += ended - started
                job.feed.fail(job, error, info, started, ended)
            except (SystemExit, GeneratorExit) as error:  # the task's own end is not the program's
                ended = perf_counter()
                self.job = None
                info.tasks += 1
                job.feed.fail(job, TaskAborted(error), info, started, ended)
            else:
                ended = perf_counter()
                self.job = None
                info.tasks += 1
                info.run_time += ended - started
                job.feed.succeed(job, result, info, started, ended)
            if self._verdict is not None or host.leaving:
                return
            if not is_plain and not await self._make_ready():
                return
            breath -= 1
            if not breath or ended - breathed > LONGEST:
                await checkpoint()
                breath, breathed = BREATH, (ended := perf_counter())
            following = take()
            if following is None:
                return
            job, started = following, ended

    async def _make_ready(self) -> bool:
        """Do what is due between two inputs; return whether the worker can take the next."""
        if (release := self.host.release) is not None:
            self.since, self._resetting = perf_counter(), True
            limit, self._limit = self._limit, self.host.engine.options.destroy_timeout
            self.host.engine.watchdog.expect(self.since + self._limit)
            try:
                await release()
            except BaseException as error:  # it raised, or was cut for hanging
                self.host.leave("in doubt")
                if not isinstance(error, Exception):
                    raise
                log.exception("release of worker %r raised", self.host.info.id)
            finally:
                self._resetting, self._limit = False, limit
        return not self.host.leaving and self.host.is_fit() and self._verdict is None

    def _time_out(self, job: Job, info: WorkerInfo, started: float, ended: float) -> None:
        job.feed.fail(job, TaskTimeout(self._limit), info, started, ended)
