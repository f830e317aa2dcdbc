"""What becomes of an input that has not returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ._errors import TaskAborted, TaskTimeout

if TYPE_CHECKING:
    from ._job import Job
    from ._worker import WorkerInfo

Verdict: TypeAlias = Callable[["Job", "WorkerInfo", float, float], None]
"""What to do with a job that was cut short: called with the job, its worker, and when it began and ended."""


def timed_out(limit: float) -> Verdict:
    """Return the verdict of one that took longer than `limit` seconds."""

    def fail(job: Job, info: WorkerInfo, started: float, ended: float) -> None:
        job.feed.fail(job, TaskTimeout(limit), info, started, ended)

    return fail


def as_exception(error: BaseException) -> Exception:
    """Return what an input fails with for which `error` was raised."""
    return error if isinstance(error, Exception) else TaskAborted(error)
