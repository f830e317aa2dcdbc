"""SqliteSource: a queue in a file, that survives the death of everybody who uses it."""

from __future__ import annotations

import math
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import anyio
from anyio.lowlevel import current_token

from . import _json
from ._delivery import Delivery
from ._errors import SourceClosed
from ._sqlite_call import PARKED, Call
from ._sqlite_dead import DeadLetters
from ._sqlite_file import open_file
from ._sqlite_store import Store
from ._sqlite_thread import StoreThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Self

T = TypeVar("T")
R = TypeVar("R")

END: Any = object()


@dataclass(frozen=True, slots=True)
class SqliteStatistics:
    """A snapshot of one queue in the file, over all processes."""

    ready: int
    """Jobs that can be claimed now, and those whose lease has just ended."""
    waiting: int
    """Jobs whose delay has not passed."""
    leased: int
    """Jobs that are held, also by a process that has died: until the lease ends."""
    dead: int
    """Dead letters."""


class SqliteSource(Generic[T]):
    """A durable queue in a file of one machine, for any number of processes. Depends on nothing but the file.

        async with SqliteSource("jobs.db") as source:
            await source.put({"page": 1})                  # it is in the file when this returns
            async for delivery in source:                  # or: await pool.process(source)
                async with delivery as value:
                    await work(value)

    **At least once.** A job is removed only when it is acknowledged. If its holder dies, it comes back when the lease
    ends, before everything else in the queue: so it may be done twice, but is never lost. A job that failed, or whose
    holders died, `max_attempts` times goes to `source.dead`; before the last of these attempts it is isolated, so
    that it can't take innocent jobs with it.

    **End.** `close()` refuses further `put`s and lets the queue drain: consumers see the end when no job is left
    in the file, whoever holds it, delayed ones included. Leaving the block is at once: waiting calls get
    `SourceClosed`, jobs stay in the file, and what you hold unsettled comes back when its lease ends.

    `queue`: its name; a file holds any number. `lease`: seconds that a holder has before it must `renew`; it says how
    soon a death is noticed, not how long a job may take. `poll`: seconds after which, at the latest, a put of another
    process is noticed (puts of this process are at once); a poll is one indexed read, some 5 µs, so ten a second cost
    nothing. `busy_timeout`: seconds to wait for other processes' transactions before `DatabaseLocked`.
    `synchronous`: "NORMAL" survives every crash of the program, but a power failure may undo the last commits;
    "FULL" flushes each one. `dumps` and `loads`: how a value becomes bytes; by default JSON, and only what comes back
    equal (`loads(dumps(value)) == value`). `loads` runs in the source's thread. If it raises an Exception, the job
    becomes a dead letter; all else, such as SystemExit, comes out of `receive`, and the job stays as it was.

    It belongs to the event loop in which it was entered; another opens the file once more. So does another process, but
    for one that was forked while the file was open here: it gets StorageError, as SQLite's locks are not inherited.
    The file must be on a local disk: SQLite's write-ahead log does not work over a network. Errors: `StorageError`
    and its kinds, from every method. Cancelled, a call either raises and has changed nothing, or returns.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        queue: str = "default",
        *,
        lease: float = 30,
        max_attempts: int = 3,
        poll: float = 0.1,
        busy_timeout: float = 5,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
        dumps: Callable[[T], bytes] = _json.dumps,
        loads: Callable[[bytes], T] = _json.loads,
    ) -> None:
        for name, value in (("lease", lease), ("max_attempts", max_attempts), ("poll", poll)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if synchronous not in ("NORMAL", "FULL"):
            raise ValueError(f"synchronous must be 'NORMAL' or 'FULL', got {synchronous!r}")
        self.path: str = os.path.realpath(path)
        self.queue = queue
        self.lease = lease
        self.max_attempts = max_attempts
        self.dead: DeadLetters[T] = DeadLetters(self)
        self._poll = poll
        self._busy_timeout = busy_timeout
        self._synchronous = synchronous
        self._dumps = dumps
        self._loads = loads
        self._thread: StoreThread | None = None
        self._pid = 0
        self._closed = False

    async def put(self, value: T, *, key: str | None = None, delay: float = 0) -> str:
        """Add a job, to be run in `delay` seconds. It is in the file when this returns. Returns its id.

        `key`: if a job with this key is in the queue already, waiting or running, nothing is added and the id is
        that job's. A job that is done, or dead, no longer counts. Raises `EncodeError`, or `SourceClosed`.
        """
        self._refuse_if_closed()
        body, wait = self._dumps(value), round(delay * 1000)
        return str(await self._call(lambda store, now: store.put_one(body, key, now + wait), wakes=True))

    async def put_many(self, values: Iterable[T], *, key: Callable[[T], str] | None = None, delay: float = 0) -> int:
        """Add many jobs in one transaction: all of them, or none. Returns how many were new (see `put`).

        With `key`, a function of the value, repeating the call is harmless: a producer that died in the middle of a
        long list may begin it again.
        """
        self._refuse_if_closed()
        jobs = [(self._dumps(value), key(value) if key else None) for value in values]
        wait = round(delay * 1000)
        return await self._call(lambda store, now: store.put(jobs, now + wait), wakes=True)

    async def receive(self, max_items: int = 1) -> list[Delivery[T]]:
        """Take up to `max_items` jobs that are ready, waiting until there is one.

        Cancelled, it hands back what it had claimed. Raises `anyio.EndOfStream` after `close()`, when the queue is
        empty.
        """
        if max_items < 1:
            raise ValueError(f"max_items must be 1 or more, got {max_items}")
        thread = self._running()
        call = Call(lambda store, now: self._claim(store, max_items, now, thread.draining), undo=_hand_back)
        deliveries = await self._finish(thread, call)
        if deliveries is END:
            raise anyio.EndOfStream
        return deliveries

    async def renew(self, held: Sequence[Delivery[T]]) -> list[Delivery[T]]:
        """Begin the leases of `held` anew. Returns those that were lost, except what was settled meanwhile."""
        held = tuple(held)  # the caller's list may change while we wait
        holds = [delivery._held for delivery in held]  # pyright: ignore[reportPrivateUsage]
        kept = await self._call(lambda store, now: [store.renew(hold, now) for hold in holds])
        return [
            delivery
            for delivery, mine in zip(held, kept, strict=True)
            if not mine and not delivery._settled  # pyright: ignore[reportPrivateUsage]
        ]

    async def statistics(self) -> SqliteStatistics:
        """Count the jobs. It reads the index of the whole queue: some 0.1 s for a million jobs."""
        counts = await self._call(lambda store, now: store.counts(now))
        return SqliteStatistics(*counts, dead=await self.dead.count())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery[T]:
        try:
            return (await self.receive(1))[0]
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Refuse further puts; consumers see the end when the queue is empty. Idempotent."""
        self._closed = True
        if self._thread is not None:
            self._thread.drain()

    async def aclose(self) -> None:
        """Leave the file at once (see **End**). Idempotent."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():  # a fork has neither the thread nor the right to the file
            await thread.stop()

    async def __aenter__(self) -> Self:
        if self._thread is not None or self._closed:
            raise RuntimeError("a SqliteSource is entered once; make another for another time")
        thread = StoreThread(self.path, self._open, self._poll)
        await thread.start()
        self._thread, self._pid = thread, os.getpid()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _open(self) -> Store:
        connection = open_file(self.path, synchronous=self._synchronous, busy_timeout=self._busy_timeout)
        return Store(connection, self.queue, _owner(), round(self.lease * 1000), self.max_attempts)

    def _claim(self, store: Store, limit: int, now: int, draining: bool) -> list[Delivery[T]]:
        while claims := store.claim(limit, now):
            deliveries: list[Delivery[T]] = []
            for held, body, attempt, isolate in claims:
                try:
                    value = self._loads(body)
                except Exception as error:
                    store.reject(held, f"cannot be decoded: {error!r}", now)
                    continue
                last = attempt >= self.max_attempts
                deliveries.append(Delivery(self, held, value, attempt=attempt, last=last, isolate=isolate))
            if deliveries:
                return deliveries
        nothing: list[Delivery[T]] = END if draining and store.due() is None else PARKED
        return nothing

    async def _settle(self, change: Callable[[Store, int], bool], wakes: bool) -> bool:
        return await self._call(change, wakes)

    async def _call(self, run: Callable[[Store, int], R], wakes: bool = False) -> R:
        return await self._finish(self._running(), Call(run, wakes=wakes))

    async def _finish(self, thread: StoreThread, call: Call[R]) -> R:
        thread.submit(call)
        try:
            await call.done.wait()
        except BaseException:
            if call.withdraw():
                raise
            thread.nudge()
            with anyio.CancelScope(shield=True):
                await call.done.wait()
            if undo := call.undone():
                thread.submit(undo)
            # It has happened. If the cancellation is one of a scope, it is not lost by returning: the next await
            # raises it. A bare `task.cancel()` of asyncio comes but once and must be let through.
            if call.undo is not None or anyio.current_effective_deadline() > -math.inf:
                raise
        return call.outcome()

    def _running(self) -> StoreThread:
        if self._thread is None and not self._closed:
            raise RuntimeError("enter the source first: async with SqliteSource(...) as source")
        if self._thread is None or self._pid != os.getpid():
            raise SourceClosed(
                "the source is not open here: it was left, or this is a fork of the process that opened it"
            )
        if current_token() != self._thread.token:  # whose answers come to another event loop than this call waits in
            raise RuntimeError(
                "this source was opened in another event loop: call it there, by anyio.from_thread.run, "
                "or open the file once more for this one"
            )
        return self._thread

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise SourceClosed


def _hand_back(store: Store, deliveries: list[Delivery[Any]]) -> None:
    if deliveries is not END:
        for delivery in deliveries:
            store.hand_back(delivery._held)  # pyright: ignore[reportPrivateUsage]


# Suspects are claimed alone *per process*, because that is what dies: so all sources of a process are one owner.
_owners: dict[int, str] = {}


def _owner() -> str:
    pid = os.getpid()
    return _owners.setdefault(pid, f"{pid}-{secrets.token_hex(8)}")
