"""The event loop that a pool belongs to. What a call waits for is told there: from elsewhere it would wait for ever."""

from __future__ import annotations

from threading import get_ident
from typing import Any

from anyio.lowlevel import current_token

ELSEWHERE = (
    "this pool belongs to another event loop, or to one that has ended: make one pool for each loop, or call it on its "
    "own, from a thread by anyio.from_thread.run(pool.execute, input), or by a BlockingPortal of that loop"
)


class Home:
    """Where a pool was entered. Nowhere, until `enter`, and after `leave`."""

    def __init__(self) -> None:
        self._loop: Any = None
        self._thread = 0  # of the event loop, while it runs; no thread has this number

    def enter(self) -> None:
        """It is here."""
        self._loop, self._thread = current_token(), get_ident()

    def leave(self) -> None:
        """The event loop is no more."""
        self._thread = 0

    def check_thread(self) -> None:
        """Refuse a call from another thread."""
        if get_ident() != self._thread:
            raise RuntimeError(ELSEWHERE)

    def check_loop(self) -> None:
        """Refuse it also in a thread that had several loops. That costs a microsecond: not for one input."""
        try:
            is_ours = current_token() == self._loop
        except RuntimeError:  # no event loop here
            is_ours = False
        if not is_ours:
            raise RuntimeError(ELSEWHERE)
