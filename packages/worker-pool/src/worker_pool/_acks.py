"""The feed of an acknowledging source: it settles each delivery by what became of its input. See `_delivery.py`.

Settling takes a task of its own, beside the worker: its slot is free for the next input meanwhile. The outcome is told
only when the source has heard of it, and a delivery is held, and renewed, until then.
"""

from __future__ import annotations

import sys
from numbers import Real
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import anyio

from ._errors import shown
from ._events import log
from ._feeds import Feed
from ._foreign import is_failure
from ._job import DeliveryJob
from ._outcome import Failure, Success
from ._retry import Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ._delivery import AckSource
    from ._engine import Engine
    from ._feeds import Sink
    from ._job import Job
    from ._worker import WorkerInfo

PATIENCE = 0.6  # seconds a `receive` may still take at the end before it is cancelled; a broker blocks for 0.5
RENEWALS = 3  # per lease: one may fail, and the next still comes in time


class AckFeed(Feed):
    """A feed whose inputs are deliveries: its source hears of each what became of it."""

    most_at_once = sys.maxsize  # as many as there is room for

    def __init__(self, engine: Engine, source: AckSource[Any], sink: Sink | None) -> None:
        super().__init__(engine, None, sink)
        self._source = source
        self._lease = _lease_of(source)
        self._held: dict[DeliveryJob, bool] = {}  # and whether it is being settled
        self._renewing = anyio.CancelScope()

    async def fetch(self, wanted: int) -> Sequence[Job]:
        """Receive deliveries for the pump."""
        deliveries = await self._source.receive(wanted)
        now = perf_counter()
        jobs = [DeliveryJob(self, one, self.taken + i, now) for i, one in enumerate(deliveries, 1)]
        self._held.update(dict.fromkeys(jobs, False))
        return jobs

    # --- what became of a job

    def succeed(self, job: Job, result: Any, info: WorkerInfo, started: float, ended: float) -> None:
        """`execute` returned: acknowledge."""
        outcome = Success(job.input, result, job.attempts, info.id, started, ended - started)

        def settled(is_ours: bool) -> None:
            self.succeeded += 1
            self.lost += not is_ours
            self._publish(job, outcome)
            self._look()
            self.poke()  # the window has a place again: the pump may be waiting for nothing else

        self._settle(job, _delivery(job).ack, settled)

    def fail(self, job: Job, error: Exception, info: WorkerInfo, started: float, ended: float) -> None:
        """It failed: another time, unless this was the last or the error is final."""
        failure = Failure(job.input, error, job.attempts, info.id, started, ended - started)
        retry = self.engine.options.retry
        delivery = _delivery(job)
        if delivery.last or (retry is not None and not retry.matches(error)):
            self._settle(job, lambda: delivery.reject(shown(error)), lambda _: self._failed(job, failure))
            return

        def settled(is_ours: bool) -> None:
            self.retried += is_ours
            self.lost += not is_ours
            self.engine.tell_finished(failure, again=True)
            self._over(job)

        delay = (retry or Retry()).delay(job.attempts)
        self._settle(job, lambda: delivery.nack(delay), settled)

    def withdrawn(self, job: Job, *_: object) -> None:
        """It did not start, or was cut because nobody wants it: hand it back."""

        def settled(is_ours: bool) -> None:
            self.unfinished += 1
            self.handed_back += is_ours
            self._over(job)

        self._settle(job, _delivery(job).hand_back, settled)

    def _lose(self, job: Job, *_: object) -> None:
        """Its lease was lost: somebody else has it, so there is nobody to tell."""
        self._held.pop(cast(DeliveryJob, job), None)
        self.lost += 1
        self._over(job)

    # --- settling and renewing

    def _settle(self, job: Job, verb: Callable[[], Awaitable[bool]], settled: Callable[[bool], None]) -> None:
        self._held[cast(DeliveryJob, job)] = True
        self.engine.spawn(self._settle_soon, job, verb, settled)

    async def _settle_soon(
        self, job: Job, verb: Callable[[], Awaitable[bool]], settled: Callable[[bool], None]
    ) -> None:
        is_ours = False
        deadline = anyio.current_time() + self.engine.options.destroy_timeout
        try:
            with anyio.CancelScope(shield=True, deadline=deadline):
                is_ours = bool(await verb())  # None is no yes
        except BaseException as error:  # a broker that is away: the lease will run out, and the delivery come again
            if not is_failure(error):
                raise
            log.warning("a delivery could not be settled", exc_info=True)
        self._held.pop(cast(DeliveryJob, job), None)
        settled(is_ours)

    async def renew(self) -> None:
        """Renew all that is held every third of a lease, until everything is settled."""
        lease = self._lease
        if lease is None:
            return
        with self._renewing:
            while True:
                await anyio.sleep(lease / RENEWALS)
                if self._held:
                    await self._renew_once(lease)

    async def _renew_once(self, lease: float) -> None:
        held = list(self._held)
        lost: list[DeliveryJob | None] = []
        try:
            with anyio.move_on_after(lease / RENEWALS):
                lost = [_job_of(one, held) for one in await self._source.renew([job.delivery for job in held])]
        except BaseException as error:  # again in a third of a lease
            if not is_failure(error):
                raise
            log.warning("leases could not be renewed", exc_info=True)
        for job in lost:
            if job is not None and self._held.get(job) is False:  # else it is settled, and only looks lost
                self._cut(job)

    def _cut(self, job: DeliveryJob) -> None:
        if job in self.stock:
            self.stock.remove(job)
            self._lose(job)
        elif self.engine.demand.purge(lambda one: one is job):
            self._lose(job)
        else:
            self.engine.cut(lambda one: one is job, self._lose)

    def _finish(self) -> None:
        self._renewing.cancel()
        super()._finish()


def _lease_of(source: object) -> float | None:
    """Return the lease of a source; refuse a call whose source has none, or one that makes no sense."""
    lease = getattr(source, "lease", ...)
    if lease is ...:
        raise TypeError(f"a source with `renew` must have a `lease`, in seconds or None, got {shown(source)}")
    if lease is None:
        return None
    if not isinstance(lease, Real):
        raise TypeError(f"the lease of a source must be a number of seconds or None, got {shown(lease)}")
    seconds = float(lease)
    if not seconds > 0:
        raise ValueError(f"the lease of a source must be positive, got {shown(lease)}")
    return seconds


def _job_of(delivery: Any, held: Sequence[DeliveryJob]) -> DeliveryJob | None:
    """Find what a source names: the very delivery, or one of that id. It may be held twice, once in vain."""
    by_id = None
    for job in held:
        if job.delivery is delivery:
            return job
        if by_id is None and job.delivery.id == delivery.id:
            by_id = job
    if by_id is None:
        log.warning("a lease was said to be lost that is not held here: %s", shown(delivery))
    return by_id


def _delivery(job: Job) -> Any:
    return cast(DeliveryJob, job).delivery
