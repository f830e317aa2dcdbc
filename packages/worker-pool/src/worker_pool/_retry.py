"""When to run a failed input again, and how long to wait before."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, TypeAlias, cast, final

from ._errors import said_yes
from ._events import log

RetryOn: TypeAlias = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
"""Which errors: a class, several, or a predicate."""


@final
@dataclass(frozen=True, slots=True)
class Retry:
    """Run an input again after a failure, up to `attempts` runs in all.

    The n-th wait is `min(backoff * factor ** (n - 1), max_backoff)` seconds, of which a random part of up to
    `jitter` (0 to 1) is taken off, so that what failed together does not come back together. With the defaults:
    0.1 s, then 0.2 s, each at least half of that.

    Only errors that match `on` are retried. The input may have done half of its work before it failed: ask for
    retries only where running it twice does no harm. A delivery from an acknowledging source is counted by its
    source: there `attempts` means nothing, `backoff` is the delay it is asked for, and an error that does not
    match `on` is final.
    """

    attempts: int = 3
    backoff: float = 0.1
    factor: float = 2.0
    max_backoff: float = 30.0
    jitter: float = 0.5
    on: RetryOn = Exception

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        attempts, on = cast("tuple[object, object]", (self.attempts, self.on))
        if not isinstance(attempts, int):
            raise TypeError(f"attempts must be a whole number, got {attempts!r}")
        if not _is_rule(on):
            raise TypeError(f"on must be an exception class, several in a tuple, or a function, got {on!r}")
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {self.attempts!r}")
        if self.backoff < 0 or self.max_backoff < 0 or self.factor < 1:
            raise ValueError(f"backoff must not be negative nor shrink, got {self!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be between 0 and 1, got {self.jitter!r}")

    def matches(self, error: Exception) -> bool:
        """Return whether `error` is one to run again after. One that raises or is async has not said so."""
        on: Any = self.on
        if isinstance(on, (type, tuple)):
            return isinstance(error, on)
        try:
            return said_yes("on", on(error))
        except Exception:
            log.exception("the predicate of %r raised on %r", self, error)
            return False

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after the failure of the `attempt`-th run."""
        try:
            wait = self.backoff * self.factor ** (attempt - 1)
        except OverflowError:
            wait = self.max_backoff
        return min(wait, self.max_backoff) * (1 - self.jitter * random.random())


def _is_rule(on: object) -> bool:
    if isinstance(on, tuple):
        return on != () and all(map(_is_error, cast("tuple[object, ...]", on)))
    return _is_error(on) or (callable(on) and not isinstance(on, type) and not iscoroutinefunction(on))


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)
