"""The event loop, and the context, that a pool belongs to.

What a call waits for is told in that loop: from elsewhere it would wait for ever. The context is that of the block
which entered the pool. Workers start in it, not in that of the moment: this may be the context of the worker whose
place the new one takes, and each would keep its predecessor for as long as it lives.
"""

from __future__ import annotations

import sys
from contextvars import Context, ContextVar, copy_context
from threading import get_ident
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Callable

ELSEWHERE = (
    "this pool belongs to another event loop, or to one that has ended: make one pool for each loop, or call it on its "
    "own, from a thread by anyio.from_thread.run(pool.execute, input), or by a BlockingPortal of that loop"
)


class Home:
    """Where a pool was entered. Nowhere, until `enter`, and after `leave`."""

    _context: Context

    def __init__(self) -> None:
        self._loop: Any = None
        self._thread = 0  # of the event loop, while it runs; no thread has this number
        self._running: Callable[[], Any] = _none  # tells which loop of asyncio this thread runs ...
        self._host: Any = None  # ... and which it was: None under trio, unless trio is the guest of one

    def enter(self) -> None:
        """It is here."""
        self._loop, self._thread, self._context = current_token(), get_ident(), copy_context()
        if "asyncio" in sys.modules:  # under trio it may never be needed, and is dear to import
            import asyncio

            self._running = asyncio._get_running_loop  # pyright: ignore[reportPrivateUsage] # it is in __all__ there
        self._host = self._running()

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call `function` in a context of its own, like that of the block which entered the pool."""
        self._context.copy().run(function, *arguments)

    def leave(self) -> None:
        """The event loop is no more."""
        self._thread = 0

    def check_here(self) -> None:
        """Refuse a call from another thread, or from another loop of asyncio in this one."""
        if get_ident() != self._thread or self._running() is not self._host:
            raise RuntimeError(ELSEWHERE)

    def check_loop(self) -> None:
        """Refuse it also from trio and asyncio where one is the other's guest. Costs a microsecond: not per input."""
        try:
            is_ours = current_token() == self._loop
        except RuntimeError:  # no event loop here
            is_ours = False
        if not is_ours:
            raise RuntimeError(ELSEWHERE)


own_home: ContextVar[Home | None] = ContextVar("own_home", default=None)
"""That of the pool whose own task this is, or was started by: one that makes a worker, or asks a source."""


def _none() -> None:
    pass
