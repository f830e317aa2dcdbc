"""Every input ends in exactly one outcome, on a bounded set of reusable workers.

    async with WorkPool(make_worker, max_size=4) as pool:
        await pool.process(source)                     # run all; raise at the end if any failed
        async with pool.stream(source) as outcomes:    # or look at each
            async for outcome in outcomes: ...
        value = await pool.execute("one input")        # or just one

Everything public is here, and in `worker_pool.testing`.
"""

from ._delivery import AckSource as AckSource
from ._delivery import Delivery as Delivery
from ._errors import PoolBroken as PoolBroken
from ._errors import PoolClosed as PoolClosed
from ._errors import PoolDeadlock as PoolDeadlock
from ._errors import PoolError as PoolError
from ._errors import StartTimeout as StartTimeout
from ._errors import TaskAborted as TaskAborted
from ._errors import TaskTimeout as TaskTimeout
from ._errors import WorkerLost as WorkerLost
from ._errors import WorkFailed as WorkFailed
from ._events import Event as Event
from ._events import TaskFinished as TaskFinished
from ._events import TaskStarted as TaskStarted
from ._events import WorkerStarted as WorkerStarted
from ._events import WorkerStartFailed as WorkerStartFailed
from ._events import WorkerStopped as WorkerStopped
from ._options import PoolOptions as PoolOptions
from ._outcome import Failure as Failure
from ._outcome import NotStarted as NotStarted
from ._outcome import Outcome as Outcome
from ._outcome import Settled as Settled
from ._outcome import Success as Success
from ._outcome import Summary as Summary
from ._pool import Source as Source
from ._pool import WorkPool as WorkPool
from ._retry import Retry as Retry
from ._statistics import Statistics as Statistics
from ._stream import OutcomeStream as OutcomeStream
from ._worker import Settle as Settle
from ._worker import SubmitWorker as SubmitWorker
from ._worker import Worker as Worker
from ._worker import WorkerInfo as WorkerInfo

__all__ = [
    "AckSource",
    "Delivery",
    "Event",
    "Failure",
    "NotStarted",
    "Outcome",
    "OutcomeStream",
    "PoolBroken",
    "PoolClosed",
    "PoolDeadlock",
    "PoolError",
    "PoolOptions",
    "Retry",
    "Settle",
    "Settled",
    "Source",
    "StartTimeout",
    "Statistics",
    "SubmitWorker",
    "Success",
    "Summary",
    "TaskAborted",
    "TaskFinished",
    "TaskStarted",
    "TaskTimeout",
    "WorkFailed",
    "WorkPool",
    "Worker",
    "WorkerInfo",
    "WorkerLost",
    "WorkerStartFailed",
    "WorkerStarted",
    "WorkerStopped",
]
