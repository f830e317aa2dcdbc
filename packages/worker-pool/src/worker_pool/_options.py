"""The options of a pool, checked."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._retry import Retry
    from ._worker import WorkerInfo


@dataclass(frozen=True, slots=True)
class Options:
    """See `WorkPool`."""

    max_size: int
    min_size: int
    concurrency: int
    idle_timeout: float | None
    init_timeout: float
    execute_timeout: float  # infinity: none
    destroy_timeout: float
    grace: float
    max_starting: int
    max_start_failures: int
    start_backoff: float
    retry: Retry | None
    retire: Callable[[WorkerInfo], object] | None

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name in ("max_size", "concurrency", "max_starting", "max_start_failures"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if not 0 <= self.min_size <= self.max_size:
            raise ValueError(f"min_size must be between 0 and max_size ({self.max_size}), got {self.min_size!r}")
        for name in ("init_timeout", "execute_timeout", "destroy_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}")
        for name in ("idle_timeout", "grace", "start_backoff"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value!r}")

    @property
    def slots(self) -> int:
        """How many inputs can run at once."""
        return self.max_size * self.concurrency


def or_infinity(seconds: float | None) -> float:
    """Return `seconds`, with None for "no limit"."""
    return math.inf if seconds is None else seconds


def default_starting() -> int:
    """Return how many workers to start at once: as many as there are processors, and 2 at least."""
    return max(2, os.cpu_count() or 1)
