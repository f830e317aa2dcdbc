"""What a worker with `submit` is handed besides its inputs: the list in flight, which it settles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._job import Job
    from ._outcome import Settled
    from ._port import Port


class Batch:
    """One list of inputs in flight, and the `Settle` that the worker has for them."""

    __slots__ = ("at", "jobs", "late", "left", "port")

    def __init__(self, port: Port, jobs: list[Job], at: float) -> None:
        self.port: Port = port
        self.jobs: list[Job | None] = list(jobs)
        self.left: int = len(jobs)
        self.at: float = at
        self.late: set[int] | None = None  # given up by the pool, but the worker still has them

    def __call__(self, i: int, outcome: Settled[Any, Any]) -> None:
        """See `Settle`."""
        self.port.settled(self, ((i, outcome),))

    def many(self, outcomes: Iterable[tuple[int, Settled[Any, Any]]]) -> None:
        """See `Settle`."""
        self.port.settled(self, outcomes)
