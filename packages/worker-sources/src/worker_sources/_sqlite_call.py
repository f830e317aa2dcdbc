"""Something to do in the thread of a SqliteSource, and the race between doing it and no longer wanting it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._sqlite_store import Store

R = TypeVar("R")

# What `run` returns to go on waiting. Only claims do.
PARKED: Any = object()


class Call(Generic[R]):
    """Either the thread begins it or its caller withdraws it, never both. Made on the event loop.

    `run(store, now)` happens inside a transaction, and once more if that transaction fails. `wakes`: it may have made
    a job ready. `undo(store, result)` is for a result that nobody is there to take any more.
    """

    __slots__ = ("_error", "_result", "_started", "done", "run", "undo", "unwanted", "wakes")

    def __init__(
        self,
        run: Callable[[Store, int], R],
        *,
        wakes: bool = False,
        undo: Callable[[Store, R], None] | None = None,
    ) -> None:
        self.run = run
        self.undo = undo
        self.wakes = wakes
        self.done = anyio.Event()
        self.unwanted = False
        self._started = threading.Lock()  # held by the thread while it works on it, and by whoever withdrew it for ever
        self._result: R = PARKED
        self._error: BaseException | None = None

    def begin(self) -> bool:
        """In the thread: False if the call was withdrawn."""
        return self._started.acquire(blocking=False)

    def park(self) -> None:
        """In the thread: it may be withdrawn again, until it is begun again."""
        self._started.release()

    def withdraw(self) -> bool:
        """On the loop: True if it was not done and never will be; False if it is being done, and `done` will be set.

        After False the thread must be nudged: it may be about to park the call.
        """
        self.unwanted = True
        return self._started.acquire(blocking=False)

    def finish(self, result: R) -> None:
        """Keep the result of the committed transaction."""
        self._result = result

    def fail(self, error: BaseException) -> None:
        """Keep the error; nothing has changed in the file."""
        self._error = error

    @property
    def finished(self) -> bool:
        """Whether there is a result or an error."""
        return self._error is not None or self._result is not PARKED

    def outcome(self) -> R:
        """The result or the error, once `done` is set."""
        if self._error is not None:
            raise self._error
        return self._result

    def undone(self) -> Call[None] | None:
        """A call that undoes this one, if it has done something that can be undone."""
        undo, result = self.undo, self._result
        if undo is None or self._error is not None or result is PARKED:
            return None
        return Call(lambda store, now: undo(store, result), wakes=True)
