"""How a `Settle` of one's own is made: for an input that was submitted alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker_pool import Settled


class Telling:
    """Hands on the outcome of the one input there is."""

    def __init__(self, tell: Callable[[Settled[Any, Any]], object]) -> None:
        self._tell = tell

    def __call__(self, i: int, outcome: Settled[Any, Any], /) -> None:
        """See `worker_pool.Settle`."""
        self._tell(outcome)

    def many(self, outcomes: Iterable[tuple[int, Settled[Any, Any]]], /) -> None:
        """See `worker_pool.Settle`."""
        for _, outcome in outcomes:
            self._tell(outcome)
