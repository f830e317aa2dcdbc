"""A lane runs one input after another through `worker.execute`. A worker has `concurrency` of them, a task each.

The loop in `_run` is the hot path: no task, lock, scope, event or clock beyond what one input needs. One scope is
kept around many inputs; to cut one of them short it is cancelled, and the next has a new scope.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from ._events import log
from ._foreign import is_of_one, is_survivable
from ._verdict import as_exception, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._host import Host
    from ._job import Job
    from ._verdict import Verdict

BREATH = 64  # inputs between two visits to the event loop, if none of them suspends: 0.05 us per input
LONGEST = 0.001  # ... or seconds, whichever comes first: other tasks wait no longer than that

MOMENT = 0.01  # seconds: a result that comes so soon after a cut was on its way before it

current_run: ContextVar[tuple[Lane, int] | None] = ContextVar("current_run", default=None)
"""The lane whose input is being executed, in its task and in those that it starts, and the number of the block.

A task that outlives its input is known by an old number. (Not the inputs but the blocks of them are numbered, as
setting this costs a sixth of a quick input; a block ends with the first input that is not quick.)
"""


class Lane:
    """One task that runs jobs. To the demand it is a seat with room for one."""

    room = reach = capacity = 1

    def __init__(self, host: Host) -> None:
        self.host = host
        self.block: int = 0  # inputs that were accounted for at once: see `current_run`
        self.nested = 0  # calls of its own pool that its input waits for
        self.job: Job | None = None
        self.since: float = 0.0
        self._limit = host.engine.options.execute_timeout
        self._timed_out = timed_out(self._limit)
        self._resetting = False  # in `release`
        self._tasks_seen = 0
        self._verdict: Verdict | None = None
        self._cut_at = 0.0
        self._halted = False  # cut, or dismissed: no further job
        self._scope = anyio.CancelScope()
        self._woken: anyio.Event | None = None

    @property
    def load(self) -> int:
        """1 while it runs a job, else 0."""
        return int(self.job is not None)

    @property
    def is_engaged(self) -> bool:
        """Whether code of its worker runs here."""
        return self.job is not None or self._resetting

    # --- called by others

    def wake(self) -> None:
        """See `Seat`."""
        if self._woken is not None:
            self._woken.set()

    def check(self, now: float) -> float:
        """See `Watched`."""
        if self._verdict is not None:
            return self._check_cut(now)
        if self._limit == math.inf:
            return math.inf
        if self.job is None and not self._resetting:
            # Idle. It may be busy again in a moment: to look once more is cheaper than to be told of that each time.
            has_rested, self._tasks_seen = self._tasks_seen == self.host.info.tasks, self.host.info.tasks
            return math.inf if has_rested else now + self._limit
        due = self.since + self._limit
        if due > now:
            return due
        self.cut(self._timed_out)
        return self._check_cut(now)

    def _check_cut(self, now: float) -> float:
        """Give up what ignores its cancellation for too long: its input, and then its worker."""
        patience = self.host.engine.options.destroy_timeout
        if self._cut_at + patience > now:
            return self._cut_at + patience
        self._execute_verdict()
        self.host.leave("in doubt")
        if self.host.is_busy:  # with the inputs of its neighbours: they may finish
            return now + patience
        self.host.give_up()
        return math.inf

    def cut(self, verdict: Verdict) -> None:
        """Cancel what runs here; `verdict` will be its end, unless it ends by itself in this very moment."""
        if self._verdict is None:
            self._verdict, self._cut_at = verdict, perf_counter()
            self._halted = True
            self._scope.cancel()
            self.host.engine.watchdog.expect(self._cut_at + self.host.engine.options.destroy_timeout)

    def cut_where(self, is_unwanted: Callable[[Job], bool], verdict: Verdict) -> None:
        """Cut what runs here if it is unwanted."""
        if self.job is not None and is_unwanted(self.job):
            self.cut(verdict)

    def dismiss(self) -> None:
        """Come to an end: the worker is leaving."""
        self._halted = True
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
        demand = self.host.engine.demand
        was_cut = False
        self.host.arrived(self)
        try:
            while not self.host.leaving:
                try:
                    with anyio.CancelScope() as self._scope:
                        if not was_cut or await self._make_ready():
                            await self._run_many()
                except BaseException as error:
                    if self._verdict is None or not is_survivable(error):
                        raise
                    log.debug("an execute that was cut short raised", exc_info=True)
                self._execute_verdict()
                was_cut, self._verdict, self._halted = self._verdict is not None, None, self.host.leaving
        finally:
            demand.part(self)
            self.host.engine.nesting.check()

    def _execute_verdict(self) -> None:
        job, self.job = self.job, None
        if self._verdict is not None and job is not None:
            self._verdict(job, self.host.info, self.since, perf_counter())
            if not self.host.survives_cancel:
                self.host.leave("in doubt")

    async def _run_many(self) -> None:
        demand = self.host.engine.demand
        self.job = None if self._halted else demand.take()
        while True:
            demand.stir()  # with `job` set: what others may do depends on who is busy
            if self.job is not None:  # even if this was halted meanwhile: a job in hand is run
                await self._run(self.job)
                self.job = None if self._halted else await self._look()
            elif self._halted:
                return
            else:
                self.job = await self._sleep()

    async def _look(self) -> Job | None:
        """Ask once more after one turn of the event loop.

        Whoever has just got a result often brings the next input in that turn, and it is cheaper than to be woken.
        """
        demand = self.host.engine.demand
        demand.looking()
        try:
            await checkpoint()
        finally:
            demand.woke()
        return None if self._halted else demand.take()

    async def _sleep(self) -> Job | None:
        demand = self.host.engine.demand
        self._woken = anyio.Event()
        demand.idle(self)
        self.host.seat_idle()
        try:
            await self._woken.wait()
        finally:
            self._woken = None
            if not demand.unidle(self):  # it was woken for work
                demand.woke()
        return demand.take() if self.host.is_fit() else None

    async def _run(self, job: Job) -> None:
        host = self.host
        engine, info, is_plain = host.engine, host.info, host.is_plain
        execute, demand, take, listeners = host.execute, engine.demand, engine.demand.take, engine.events.listeners
        # A block of inputs is accounted for at once: `budget` of them, unless something is due after each.
        budget, since_turn = BREATH if is_plain else 1, 0
        left, block_began = self._begin_block(budget), (started := perf_counter())
        limit = block_began + LONGEST
        engine.watchdog.expect(started + self._limit)
        host.idle_since = math.inf
        while True:
            self.since, self.job = started, job
            if job.since or listeners:
                engine.task_starts(job, info, started)
            try:
                result = await execute(job.input)
                if self._verdict is not None and perf_counter() > self._cut_at + MOMENT:
                    await checkpoint_if_cancelled()  # its cancellation, which it ignored
            except BaseException as error:
                ended = perf_counter()
                if not self._may_fail(error):
                    info.worked(budget - left, ended - block_began)
                    raise
                if host.has_not_begun(error):
                    self.job = None
                    info.worked(budget - left, started - block_began)
                    host.give_back(job, error, started, ended)
                    return
                self._fail(job, error, started, ended)
            else:
                ended = perf_counter()
                self.job = None
                job.feed.succeed(job, result, info, started, ended)
            left -= 1
            if not left or ended > limit or self._halted:
                info.worked(budget - left, ended - block_began)
                if self._halted or not await self._make_ready():
                    return
                if (since_turn := since_turn + budget - left) >= BREATH or ended > limit:
                    await checkpoint()
                    engine.watchdog.expect(perf_counter() + self._limit)  # it may have looked while nothing ran here
                    since_turn = 0
                left, block_began = self._begin_block(budget), (ended := perf_counter())
                limit = block_began + LONGEST
            shortcut = demand.shortcut
            following = take() if shortcut is None else (shortcut.take_now() or take())
            if following is None:
                info.worked(budget - left, ended - block_began)
                return
            job, started = following, ended

    def _begin_block(self, budget: int) -> int:
        """Number the inputs that follow; return how many they may be."""
        self.block += 1
        current_run.set((self, self.block))
        return budget

    def _may_fail(self, error: BaseException) -> bool:
        """Whether what `execute` raised is the end of its input alone."""
        if self._verdict is not None:  # it was cut: the verdict tells its end
            return False
        return is_survivable(error)

    def _fail(self, job: Job, error: BaseException, started: float, ended: float) -> None:
        self.job = None
        job.feed.fail(job, as_exception(error), self.host.info, started, ended)
        if not is_of_one(error):
            self.host.leave("in doubt")  # a cancellation, though nobody's: who knows what it was in the middle of

    async def _make_ready(self) -> bool:
        """Do what is due between two inputs; return whether the worker can take the next."""
        if self.host.is_plain:
            return True
        if (release := self.host.release) is not None:
            self.since, self._resetting = perf_counter(), True
            limit, self._limit = self._limit, self.host.engine.options.destroy_timeout
            self.host.engine.watchdog.expect(self.since + self._limit)
            try:
                await release()
                if self._verdict is not None:  # it was cut for hanging, and has swallowed that
                    self.host.leave("in doubt")
            except BaseException as error:  # it raised, or was cut for hanging
                self.host.leave("in doubt")
                if not is_survivable(error):
                    raise
                log.exception("release of worker %r raised", self.host.info.id)
            finally:
                self._resetting, self._limit = False, limit
                self.host.engine.watchdog.expect(perf_counter() + limit)  # it may have looked by the other limit
        return not self._halted and self.host.is_fit()
