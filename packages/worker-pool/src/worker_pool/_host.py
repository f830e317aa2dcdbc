"""One task hosts one worker for its whole life: enter, execute many, leave.

Two scopes span that life. The outer one is cancelled by `init_timeout`, or by the end of the pool while the worker is
made. From then on the inner one is a shield, also for the end of what could not be made: its deadline is infinity while
the worker works, and `destroy_timeout` while it ends. A scope around the making alone, or the ending alone, would not
do: the worker's context manager, or its `init`, may open one that is left at its end, and the last one that was entered
must be left first.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeGuard

import anyio

from ._errors import StartTimeout, WorkerLost, said_yes
from ._events import WorkerStarted, WorkerStopped, log
from ._foreign import is_of_call
from ._home import own_home
from ._lane import Lane
from ._port import Port
from ._verdict import as_exception
from ._worker import WorkerInfo, as_async, open_worker

if TYPE_CHECKING:
    from ._engine import Engine
    from ._job import Job


LET_GO = 0.5  # seconds between a cancellation and the end of what it ends, on a busy machine


class Host:
    """Its task is `run`. `leave` may be called at any time, by anyone: no more inputs, then the end."""

    worker: Any
    info: WorkerInfo

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine = engine
        self.number = number
        self.leaving: bool = False
        self.idle_since: float = math.inf  # not while it works: who begins a job says so here
        self.survives_cancel: bool = False
        self.seats: list[Lane | Port] = []
        self._expected: set[Lane | Port] = set()  # whose tasks have not begun yet
        self.execute: Any = None
        self.release: Any = None
        self.not_started: Any = None
        self.is_plain: bool = True
        self._reason = "closed"
        self._begun = perf_counter()
        self._has_started = False
        self._due = math.inf  # when to give it up
        self._is_over = False  # given up, or gone
        self._has_active = False
        self._may_give_back: bool | None = None  # decided when it first does
        self._retires = False
        self._making = anyio.CancelScope(shield=True)
        self._life = anyio.CancelScope()
        self._left = anyio.Event()

    # --- called by others

    def leave(self, reason: str, *, now: bool = False) -> None:
        """Take no more inputs, and end when those that run have ended. `now`: end although some still run."""
        if not self._has_started:
            self._making.cancel()
        if not self.leaving:
            self.leaving = True
            self._reason = reason
            if self._has_started:
                self.engine.roster.leaving(self)
            for seat in self.seats:
                seat.dismiss()
            self.engine.nesting.check()
        if now or not self.is_busy:
            self._left.set()

    def give_up(self) -> None:
        """Count it as gone although its task does not end, whatever is cancelled: its slot is free for another."""
        self.abort()
        self._account_for_end(None, in_time=False)

    def abort(self) -> None:
        """End, whatever is under way."""
        self._making.cancel()
        self._life.cancel()

    def arrived(self, seat: Lane | Port) -> None:
        """The task of a seat has begun: it will ask for work now."""
        self._expected.discard(seat)
        self.engine.demand.woke()

    def has_not_begun(self, error: BaseException) -> TypeGuard[Exception]:
        """Whether the worker says so of the input whose `execute` raised `error`."""
        return isinstance(error, Exception) and self.not_started is not None and self._says_not_started(error)

    def _says_not_started(self, error: Exception) -> bool:
        """Ask the worker. One that can't tell has begun: its input is not run again."""
        try:
            return said_yes("not_started", self.not_started(error))
        except BaseException as raised:
            if not is_of_call(raised):
                raise
            log.exception("not_started of worker %r raised", self.info.id)
            return False

    def _is_active(self) -> bool:
        """Ask the worker. One that can't tell is not."""
        try:
            return bool(self.worker.active)
        except BaseException as error:
            if not is_of_call(error):
                raise
            log.exception("active of worker %r raised", self.info.id)
            return False

    def give_back(self, job: Job, error: Exception, started: float, ended: float) -> None:
        """The worker has come to its end before it began `job`: that runs elsewhere, or fails with `error`."""
        if self._may_give_back is None:
            engine = self.engine
            self._may_give_back = engine.roster.ended_unstarted(self.info.tasks > 0, engine.succeeded)
            self.leave("inactive")
        if self._may_give_back:
            self.engine.put_back(job)
        else:
            job.feed.fail(job, error, self.info, started, ended)

    def is_fit(self) -> bool:
        """Whether the worker may take another input; if not, it leaves."""
        if not self.leaving:
            if self._has_active and not self._is_active():
                self.leave("inactive")
            elif self._retires and not any(seat.nested for seat in self.seats) and self._wants_retired():
                self.leave("retired")  # not while an input waits for this pool: perhaps for this very worker
        return not self.leaving

    def _wants_retired(self) -> bool:
        """Ask `retire`. A worker that can't be judged is replaced: to be sure, and so that it is noticed."""
        retire: Any = self.engine.options.retire
        try:
            return said_yes("retire", retire(self.info))
        except BaseException as error:
            if not is_of_call(error):
                raise
            log.exception("retire raised on %r", self.info)
            return True

    @property
    def is_busy(self) -> bool:
        """Whether it has inputs."""
        return any(seat.load for seat in self.seats)

    def is_idle(self) -> bool:
        """Whether it works and has nothing to do."""
        return self._has_started and not self.leaving and not self.is_busy

    def seat_idle(self) -> None:
        """A seat of this worker found no work: if no other has some, its time until `idle_timeout` begins."""
        timeout = self.engine.options.idle_timeout
        if timeout is not None and self.idle_since == math.inf and self.is_idle():
            self.idle_since = perf_counter()  # to be woken for nothing does not prolong its time
            self.engine.watchdog.expect(self.idle_since + timeout)

    def check(self, now: float) -> float:
        """See `Watched`: the end of a worker that was idle for too long, or that does not end."""
        if self._due <= now:
            self.give_up()
            return math.inf
        return min(self._due, self._check_idle(now))

    def _check_idle(self, now: float) -> float:
        timeout = self.engine.options.idle_timeout
        if timeout is None or not self.is_idle():
            return math.inf
        if self.idle_since + timeout > now:
            return self.idle_since + timeout
        if self.engine.roster.can_spare_one:
            self.leave("idle")
        return math.inf

    # --- its task

    async def run(self) -> None:
        """Live."""
        error: BaseException | None = None
        own_home.set(self.engine.home)
        try:
            with self._making, self._life:
                options = self.engine.options
                self._move_deadline(self._making, options.init_timeout, options.destroy_timeout)
                await self._live()
        except BaseException as exc:
            error = exc
        # A cancellation from within is nobody's: `execute` made it itself. Ctrl-C may be raised in any task.
        if error is None or isinstance(error, (Exception, anyio.get_cancelled_exc_class())):
            self._account_for_end(error)
        else:
            self.engine.interrupted()
            self._account_for_end(error)
            raise error

    def _account_for_end(self, error: BaseException | None, *, in_time: bool = True) -> None:
        """Let the pool know: it waits for this."""
        if self._is_over:
            return
        self._is_over, self._due = True, math.inf
        if not self._has_started:
            if error is None:
                error = StartTimeout(self.engine.options.init_timeout)
            self.engine.start_failed(self, error)
            return
        self._settle_rest(error)
        if self._life.cancelled_caught or not in_time:
            log.warning("worker %r did not end within %g s", self.info.id, self.engine.options.destroy_timeout)
        elif error is not None:
            log.warning("worker %r ended with %r", self.info.id, error, exc_info=error)
        self.engine.gone(self, WorkerStopped(self.info, self._reason, error))

    async def _live(self) -> None:
        options = self.engine.options
        opened = open_worker(self.engine.make_worker, self._life, options.destroy_timeout, self._check_in_time)
        async with opened as worker:
            self._making.deadline = self._due = math.inf
            self._life.shield = True
            try:
                self._start(worker)
                await self._serve()
            finally:
                for seat in tuple(self._expected):  # cancelled before their first step
                    self.arrived(seat)
                    self.engine.demand.part(seat)
                self.leave("crashed", now=True)
                self._move_deadline(self._life, options.destroy_timeout)

    def _check_in_time(self) -> None:
        if self._making.cancel_called or anyio.current_time() >= self._making.deadline:
            raise StartTimeout(self.engine.options.init_timeout)

    def _start(self, worker: Any) -> None:
        options = self.engine.options
        self.worker = worker
        self.info = WorkerInfo(worker, self.number)
        self.survives_cancel = bool(getattr(worker, "survives_cancel", False))
        self.release = as_async("release", getattr(worker, "release", None))
        self.not_started = getattr(worker, "not_started", None)
        self._has_active = hasattr(worker, "active")
        self._retires = options.retire is not None
        self.is_plain = self.release is None and not self._has_active and not self._retires
        if hasattr(worker, "submit"):
            self.seats = [Port(self)]
        else:
            self.execute = as_async("execute", worker.execute)
            self.seats = [Lane(self) for _ in range(options.concurrency)]
        self._has_started = True
        for seat in self.seats:
            self._expected.add(seat)
            self.engine.demand.join(seat)
            self.engine.demand.looking()
        self.engine.started(self, WorkerStarted(self.info, perf_counter() - self._begun))

    async def _serve(self) -> None:
        if len(self.seats) == 1:
            await self.seats[0].run()
            return
        async with anyio.create_task_group() as lanes:
            for seat in self.seats:
                lanes.start_soon(seat.run)

    def _move_deadline(self, scope: anyio.CancelScope, seconds: float, and_then: float = 0.0) -> None:
        """Cancel it in so many seconds, and give it up if it has not ended by then, and some more."""
        scope.deadline = anyio.current_time() + seconds
        self._due = perf_counter() + seconds + and_then + LET_GO
        self.engine.watchdog.expect(self._due)

    def _settle_rest(self, error: BaseException | None) -> None:
        """Give every input that the worker left behind its one outcome."""
        now = perf_counter()
        for seat in self.seats:
            for job, since in seat.abandon():
                if error is None:
                    lost: Exception = WorkerLost(self.info.id)
                else:
                    lost = as_exception(error)
                job.feed.fail(job, lost, self.info, since, now)

    async def left(self) -> None:
        """Wait until the worker is to leave. For a seat that has nothing else to do."""
        await self._left.wait()
