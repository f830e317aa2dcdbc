"""The options of a pool: their names and types for the caller, and their values, checked, for the pool."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from inspect import iscoroutinefunction
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypedDict, cast

from ._retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._worker import WorkerInfo


class PoolOptions(TypedDict, total=False):
    """What `WorkPool` takes beside `make_worker`; all of it is optional. `WorkPool` says what each means."""

    max_size: int
    min_size: int
    concurrency: int
    idle_timeout: float | None
    init_timeout: float | None
    execute_timeout: float | None
    destroy_timeout: float
    grace: float | None
    max_starting: int
    max_start_failures: int
    start_backoff: float
    retry: Retry | None
    retire: Callable[[WorkerInfo], object] | None


@dataclass(slots=True, kw_only=True)
class Options:
    """The same, with defaults. "No limit" is None for the caller and infinity here."""

    max_size: int = 4
    min_size: int = 0
    concurrency: int = 1
    idle_timeout: float | None = None
    init_timeout: float = 60
    execute_timeout: float = math.inf
    destroy_timeout: float = 10
    grace: float = 30
    max_starting: int = max(2, os.cpu_count() or 1)
    max_start_failures: int = 3
    start_backoff: float = 0.1
    retry: Retry | None = None
    retire: Callable[[WorkerInfo], object] | None = None

    def __post_init__(self) -> None:
        """Translate None, and refuse what makes no sense."""
        for name in ("init_timeout", "execute_timeout", "grace"):
            if getattr(self, name) is None:
                setattr(self, name, math.inf)
        for name in ("max_size", "concurrency", "max_starting", "max_start_failures"):
            self._require(name, Integral, "at least 1", lambda number: number >= 1)
        size_rule = f"between 0 and max_size ({self.max_size})"
        self._require("min_size", Integral, size_rule, lambda size: 0 <= size <= self.max_size)
        for name in ("init_timeout", "execute_timeout", "destroy_timeout"):
            self._require(name, Real, "positive", lambda seconds: seconds > 0)
        for name in ("grace", "start_backoff", *(["idle_timeout"] if self.idle_timeout is not None else [])):
            self._require(name, Real, "not negative", lambda seconds: seconds >= 0)
        if math.isinf(self.destroy_timeout):
            raise ValueError("destroy_timeout must be finite: the end of a pool has its own limit")
        retry, retire = cast("tuple[object, object]", (self.retry, self.retire))
        if retry is not None and not isinstance(retry, Retry):
            raise TypeError(f"retry must be a Retry, such as Retry(attempts=3), got {retry!r}")
        if retire is not None and (not callable(retire) or iscoroutinefunction(retire)):
            raise TypeError(f"retire must be a function of a WorkerInfo, and not async, got {self.retire!r}")

    def _require(self, name: str, kind: type, rule: str, is_met: Callable[[Any], bool]) -> None:
        value = getattr(self, name)
        if not isinstance(value, kind):
            wanted = "a whole number" if kind is Integral else "a number of seconds"
            raise TypeError(f"{name} must be {wanted}, got {value!r}")
        if not is_met(value):
            raise ValueError(f"{name} must be {rule}, got {value!r}")

    @property
    def slots(self) -> int:
        """How many inputs can run at once."""
        return self.max_size * self.concurrency
