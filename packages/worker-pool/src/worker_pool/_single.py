"""The feed of one `execute`: an input that is there, and an outcome that somebody waits for."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from ._feeds import Feed
from ._job import Job

if TYPE_CHECKING:
    from ._engine import Engine
    from ._outcome import Outcome


class Single(Feed):
    """The feed of one `execute`, and its own sink."""

    def __init__(self, engine: Engine, input: Any) -> None:
        super().__init__(engine, None, sink=self)
        self.outcome: Outcome[Any, Any] | None = None
        self._input = input
        self._since = perf_counter()

    @property
    def in_stock(self) -> int:
        """See `Supply`."""
        return int(not self.is_ended)

    def next(self) -> Job | None:
        """See `Supply`."""
        if self.is_ended:
            return None
        self.is_ended = self._heed = True
        self.taken = 1
        self.engine.demand.withdraw(self)
        return Job(self, self._input, 1, self._since)

    def drop_unstarted(self, error: BaseException | None = None) -> None:
        """See `Feed`. An input that nobody has taken never will be: it counts as unfinished too."""
        if not self.is_ended:
            self.taken = self.unfinished = self._shown = self._looked_at = 1
        super().drop_unstarted(error)

    def put(self, index: int, outcome: Outcome[Any, Any] | None) -> None:
        """See `Sink`."""
        self.outcome = outcome
        self.consumed()
