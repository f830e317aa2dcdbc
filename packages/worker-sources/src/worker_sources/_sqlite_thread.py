"""The one thread that owns the connection of a SqliteSource, and the calls that it is handed.

Calls that have piled up are done in one transaction, and their results come back in one hop to the event loop: so
the acknowledgements of one tick cost one commit, and the claim of the next jobs rides along. If a transaction fails,
its calls are done again one by one, so that each gets its own result or its own error. That may be anything that the
user's `loads` raises, also what would end a thread. (A file that another process keeps is the fault of none: each would
only wait for it as long again, and so all are told at once.) Should this thread die all the same, who waits is told,
and so is who comes later: nobody waits for a thread that is gone.

Claims that find nothing stay parked in the thread. They are tried again after every call and when the next job is
due; what *another process* puts is noticed at the next poll. Other sources on the same file in this process are woken
at once.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
from anyio.lowlevel import current_token

from ._errors import DatabaseLocked, SourceClosed, StorageError
from ._hop import call_in_loop
from ._sqlite_call import Call
from ._sqlite_file import named_errors, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._sqlite_store import Store


def now_ms() -> int:
    """The clock that all processes of this machine share."""
    return int(time.time() * 1000)


class StoreThread:
    """Does calls in the store that `open_store` makes. `nudge` may be called from any thread, the rest on the loop."""

    # Who else in this process works on a file. Guarded by the lock: each entry belongs to a thread of its own.
    _everyone: ClassVar[set[StoreThread]] = set()
    _registry: ClassVar[threading.Lock] = threading.Lock()
    # Files that were open when this process was forked: SQLite believes that it still has locks on them.
    _inherited: ClassVar[set[str]] = set()

    def __init__(self, path: str, open_store: Callable[[], Store], poll: float) -> None:
        self.path = path
        self.draining = False
        self._open_store = open_store
        self._poll = min(poll, threading.TIMEOUT_MAX)
        self._inbox: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._begun: list[Call[Any]] = []  # what is being done now, until it is delivered or parked
        self._parked: list[Call[Any]] = []
        self._asking = False
        self._tried = 0  # when the parked claims last found nothing, by the clock of the file
        self._stopping = False
        self._ended = False  # under the lock: after it nothing is put into the inbox
        self._ending = threading.Lock()
        self._died: BaseException | None = None
        self.token = current_token()
        self._opened: Call[None] = Call(_nothing)
        self._closed: Call[None] = Call(_nothing)
        self._thread = threading.Thread(target=self._main, name=f"SqliteSource {path}", daemon=True)

    @classmethod
    def begin_anew(cls) -> None:
        """In a fork: forget the threads of the parent. They are not here, and one of them may have held the lock."""
        cls._registry = threading.Lock()
        cls._inherited |= {one.path for one in cls._everyone}
        cls._everyone.clear()

    async def start(self) -> None:
        """Open the file; return or raise when that is done."""
        if self.path in self._inherited:
            raise StorageError(
                self.path, "it was open here when this process was forked, and SQLite's locks are not inherited"
            )
        self._thread.start()
        try:
            with anyio.CancelScope(shield=True):
                await self._opened.done.wait()
            self._opened.outcome()
        except BaseException:
            self._stopping = True
            self.nudge()
            raise

    async def stop(self) -> None:
        """Do what was submitted, end parked claims with `SourceClosed`, close the file, end the thread."""
        self._stopping = True
        self.nudge()
        with anyio.CancelScope(shield=True):
            if current_token() != self.token:  # we would not hear of it here
                await anyio.to_thread.run_sync(self._thread.join)
                return
            await self._closed.done.wait()
        self._thread.join()  # it has nothing left to do, so this does not block

    def submit(self, call: Call[Any]) -> None:
        """Hand a call to the thread. If that has ended, the call has failed when this returns."""
        with self._ending:
            if not self._ended:
                self._inbox.put(call)
                return
        call.fail(self._refusal())
        call.done.set()

    def nudge(self) -> None:
        """Have the thread look again at what it has parked."""
        self._inbox.put(None)

    def drain(self) -> None:
        """Have parked claims end when the queue is empty."""
        self.draining = True
        self.nudge()

    def _main(self) -> None:
        try:
            store = self._open_store()
        except BaseException as error:
            self._opened.fail(error)
            self._deliver([self._opened])
            return
        with self._registry:
            self._everyone.add(self)
        try:
            if self._deliver([self._opened]):
                self._serve(store)
        except BaseException as error:
            self._died = error
            raise
        finally:  # whatever happened in there: nobody is left waiting
            with self._registry:
                self._everyone.discard(self)
            try:
                store.connection.close()
            finally:
                self._deliver([*self._abandoned(), self._closed])

    def _serve(self, store: Store) -> None:
        timeout: float | None = None
        while not (self._stopping and self._inbox.empty()):
            finished = self._cycle(store, self._next_calls(timeout))
            if finished and not self._deliver(finished):
                undone = [call for call in map(Call[Any].undone, finished) if call is not None]
                self._execute(store, undone)
                return
            self._begun = []
            timeout = self._pause(store) if self._parked else None

    def _next_calls(self, timeout: float | None) -> list[Call[Any]]:
        calls: list[Call[Any] | None] = []
        try:
            calls.append(self._inbox.get(timeout=timeout))
            while True:
                calls.append(self._inbox.get_nowait())
        except queue.Empty:
            return [call for call in calls if call is not None]

    def _cycle(self, store: Store, calls: list[Call[Any]]) -> list[Call[Any]]:
        """Do new calls, and try the parked ones again. Returns those that are finished."""
        idle = not calls and not self.draining
        parked = [] if self._stopping else self._parked
        changes = [call for call in calls if call.undo is None]  # first, so that the claims see what they brought
        claims = [*parked, *(call for call in calls if call.undo is not None)]  # who has waited longest comes first
        calls = self._begun = [call for call in (*changes, *claims) if call.begin()]
        self._asking = bool(calls)  # before we look: who commits after our look must see that we ask
        if calls and (not idle or self._is_due(store)):
            self._execute(store, calls)
        for call in calls:
            if not call.finished and call.unwanted:
                call.finish([])
        unfinished = [call for call in calls if not call.finished]
        self._parked = [*self._parked, *unfinished] if self._stopping else unfinished
        self._asking = bool(unfinished)
        self._begun = [call for call in calls if call.finished]
        for call in unfinished:
            call.park()
        return self._begun

    def _execute(self, store: Store, calls: list[Call[Any]]) -> None:
        """Do the calls in one transaction; if that fails by one of them, each in its own."""
        try:
            with named_errors(self.path), transaction(store.connection):
                # Not before: the transaction may have waited for the file, and a lease counts from when it is given.
                now = self._tried = now_ms()
                results = [call.run(store, now) for call in calls]
        except DatabaseLocked as error:
            for call in calls:
                call.fail(_copy(error))
            return
        except BaseException as error:  # it is the caller's, as if `loads` had been called there
            if len(calls) == 1:
                calls[0].fail(error)
                return
            for call in calls:
                self._execute(store, [call])
            return
        for call, result in zip(calls, results, strict=True):
            call.finish(result)
        if any(call.wakes for call in calls):
            self._wake_neighbours()

    def _wake_neighbours(self) -> None:
        with self._registry:
            for other in self._everyone:
                if other is not self and other.path == self.path and other._asking:
                    other.nudge()

    def _is_due(self, store: Store) -> bool:
        """Whether there may be something to claim."""
        try:
            due = store.due()
        except sqlite3.Error:
            return True  # a claim will say what is wrong
        return due is not None and due <= now_ms()

    def _pause(self, store: Store) -> float:
        """How many seconds to sleep before the parked claims are tried again, if nobody calls: at most one poll."""
        try:
            due = store.due()
        except sqlite3.Error:
            return 0
        if due is None or due <= self._tried:  # it was due when we looked: it waits for a suspect to end, and so do we
            return self._poll
        return min(max(due - now_ms(), 0) / 1000, self._poll)

    def _abandoned(self) -> list[Call[Any]]:
        """Whoever waits for something now is told that there is nothing to come. Returns them all."""
        with self._ending:
            self._ended = True
        waiting = [call for call in (*self._parked, *self._next_calls(0)) if call.begin()]
        calls = [*self._begun, *waiting]
        for call in calls:
            if not call.finished:
                call.fail(self._refusal())
        return calls

    def _refusal(self) -> SourceClosed:
        if self._died is None:
            return SourceClosed()
        error = SourceClosed(f"the thread of the source has died: {self._died!r}")
        error.__cause__ = self._died
        return error

    def _deliver(self, calls: list[Call[Any]]) -> bool:
        """Tell the callers, on their event loop. False if that has ended."""
        try:
            call_in_loop(self.token, partial(_set_all, calls))
        except SourceClosed:
            return False
        return True


os.register_at_fork(after_in_child=StoreThread.begin_anew)


def _set_all(calls: list[Call[Any]]) -> None:
    for call in calls:
        call.done.set()


def _copy(error: DatabaseLocked) -> DatabaseLocked:
    """One for each task that raises it: to raise an error writes into it."""
    copy = DatabaseLocked(error.path, error.reason)
    copy.__cause__ = error.__cause__
    return copy


def _nothing(store: Store, now: int) -> None:
    return
