"""Counts of what is over, for `statistics`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._feeds import Feed


@dataclass(slots=True)
class Tally:
    """Counts of what is over: calls that have ended, workers that are gone."""

    succeeded: int = 0
    failed: int = 0
    unfinished: int = 0
    handed_back: int = 0
    retried: int = 0
    lost: int = 0
    wait_time: float = 0.0
    run_time: float = 0.0
    started: int = 0
    start_failures: int = 0
    stopped: int = 0
    dropped: int = 0

    def add(self, feed: Feed) -> None:
        """Add the counts of a call."""
        for name in ("succeeded", "failed", "unfinished", "handed_back", "retried", "lost"):
            setattr(self, name, getattr(self, name) + getattr(feed, name))
