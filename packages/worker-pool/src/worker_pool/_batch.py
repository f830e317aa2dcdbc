"""A list of inputs in flight at a worker with `submit`, which settles them: `Settle` as the pool has it.

Most lists come from one call, and all that ever happens to their inputs is a result. So a list is taken, sent and
counted as a whole, and a `Job` is made of one of its inputs only if there is more to tell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from ._job import Job
from ._outcome import Failure, Success

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._demand import Demand
    from ._feeds import Feed
    from ._outcome import Settled
    from ._port import Port
    from ._worker import Answer


class Batch:
    """Either a list of `jobs`, or `inputs` that were taken together from `feed`, numbered from `first`."""

    __slots__ = ("_jobs", "at", "feed", "first", "inputs", "late", "left", "over", "port")

    def __init__(
        self, port: Port, inputs: list[Any], jobs: list[Job] | None, feed: Feed | None = None, first: int = 0
    ) -> None:
        self.port: Port = port
        self.inputs: list[Any] = inputs
        self.feed: Feed | None = feed
        self.first: int = first
        self.at: float = 0.0  # when it was sent
        self.left: int = len(inputs)  # that the worker has not settled
        self.over: bytearray = bytearray(len(inputs))  # for each: 1 if the worker has settled it, or we gave it up
        self.late: dict[int, float] | None = None  # given up, and when; the worker still has them
        self._jobs = jobs

    def close(self, i: int) -> Job:
        """Take out the job of an input that is not over."""
        self.over[i] = 1
        return self.job(i)

    def give_up(self, i: int, now: float) -> None:
        """Wait for an input no more, although the worker still has it."""
        self.over[i] = 1
        self.late = self.late or {}
        self.late[i] = now

    def job(self, i: int) -> Job:
        """Return the job of an input."""
        if self._jobs is not None:
            return self._jobs[i]
        assert self.feed is not None
        return Job(self.feed, self.inputs[i], self.first + i)

    def jobs(self) -> Iterator[tuple[int, Job]]:
        """Return those that are not over, and their positions."""
        if self._jobs is None:
            self._jobs = [self.job(i) for i in range(len(self.inputs))]
        return ((i, job) for i, job in enumerate(self._jobs) if not self.over[i])

    @property
    def given_up_at(self) -> float:
        """When the first of those was given up that the worker still has; infinity if there is none."""
        return self.late[min(self.late)] if self.late else math.inf

    @property
    def is_stuck(self) -> bool:
        """Whether the first that the worker still has was given up. (It has them in the order of the list.)"""
        if not self.late:
            return False
        waiting = self.over.find(0)
        return waiting < 0 or min(self.late) < waiting

    # --- the worker's side

    def __call__(self, i: int, outcome: Settled[Any, Any]) -> None:
        """See `Settle`."""
        if isinstance(outcome, Success):
            self.port.settled(self, ((i, outcome.result, None),))
        elif isinstance(outcome, Failure):
            self.port.settled(self, ((i, None, outcome.error),))
        else:
            self.port.not_started(self, i, outcome.error)

    def many(self, answers: Sequence[Answer], *, more: bool = False) -> None:
        """See `Settle`."""
        self.port.settled(self, answers, more)


def take(port: Port, demand: Demand[Job], size: int, *, is_watched: bool) -> Batch | None:
    """Take up to `size` inputs for `port`. `is_watched`: somebody wants to hear of each."""
    if (supply := demand.shortcut) is not None and not is_watched:
        first, inputs = supply.take_run(size)
        if inputs:
            port.load += len(inputs)
            return Batch(port, inputs, None, cast("Feed", supply), first)
    jobs: list[Job] = []
    while len(jobs) < size and (job := demand.take()) is not None:
        port.load += 1
        jobs.append(job)
    return Batch(port, [job.input for job in jobs], jobs) if jobs else None
