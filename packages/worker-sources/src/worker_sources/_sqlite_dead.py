"""The dead letters of a queue: jobs that will not be tried again, until somebody looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from ._sqlite_store import Store

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")

LIST = "SELECT id, body, attempt, reason, died_at FROM dead WHERE queue = ? AND id > ? ORDER BY id LIMIT ?"
REQUEUE = """
INSERT INTO job(id, queue, body, key, claims, visible_at)
SELECT id, queue, body, key, claims, ? FROM dead WHERE id = ? AND queue = ?
ON CONFLICT(queue, key) WHERE key IS NOT NULL DO NOTHING"""
PURGE = "DELETE FROM dead WHERE id = ? AND queue = ?"


@dataclass(frozen=True, slots=True)
class DeadLetter(Generic[T]):
    """A job that was rejected, failed on its last attempt, or whose last holder died."""

    id: str
    """The id that its deliveries had, and will have if it is requeued."""
    body: bytes
    """What is stored, as it was encoded: it is here even if it can't be decoded."""
    attempt: int
    """How often it was tried."""
    reason: str
    """Why it is here."""
    died_at: float
    """When, in seconds since the epoch."""
    loads: Callable[[bytes], T]
    """How the source decodes a body."""

    @property
    def value(self) -> T:
        """What was put. Raises whatever decoding raises."""
        return self.loads(self.body)


class Caller(Protocol[T_co]):
    """What the dead letters need of their source."""

    @property
    def _loads(self) -> Callable[[bytes], T_co]: ...

    async def _call(self, run: Callable[[Store, int], R], wakes: bool = False) -> R: ...


class DeadLetters(Generic[T]):
    """`source.dead`. Every method is one transaction, and raises what the source raises."""

    def __init__(self, source: Caller[T]) -> None:
        self._source = source

    async def list(self, limit: int = 100, *, after: str = "0") -> list[DeadLetter[T]]:
        """The oldest `limit` of those whose id is greater than `after`: page with the last id you have seen."""
        first = int(after)
        loads = self._source._loads  # pyright: ignore[reportPrivateUsage]
        rows = await self._call(
            lambda store, now: store.connection.execute(LIST, (store.queue, first, limit)).fetchall()
        )
        return [
            DeadLetter(str(job), body, attempt, reason, died_at / 1000, loads)
            for job, body, attempt, reason, died_at in rows
        ]

    async def count(self) -> int:
        """How many there are."""
        return await self._call(lambda store, now: _count(store.connection, store.queue))

    async def requeue(self, *ids: str) -> int:
        """Put them back at the end of the queue, as if never tried; all of them if no id is given.

        Returns how many that were. One whose de-duplication key is in the queue again stays here.
        """
        return await self._call(lambda store, now: _requeue(store, ids, now), wakes=True)

    async def purge(self, *ids: str) -> int:
        """Remove them for ever; all of them if no id is given. Returns how many that were."""
        return await self._call(lambda store, now: _purge(store, ids))

    async def _call(self, run: Callable[[Store, int], R], wakes: bool = False) -> R:
        return await self._source._call(run, wakes)  # pyright: ignore[reportPrivateUsage]


def _count(connection: sqlite3.Connection, queue: str) -> int:
    return int(connection.execute("SELECT count(*) FROM dead WHERE queue = ?", (queue,)).fetchone()[0])


def _chosen(store: Store, ids: tuple[str, ...]) -> list[int]:
    if ids:
        return [int(job) for job in ids]
    return [row[0] for row in store.connection.execute("SELECT id FROM dead WHERE queue = ?", (store.queue,))]


def _requeue(store: Store, ids: tuple[str, ...], now: int) -> int:
    back = 0
    for job in _chosen(store, ids):
        if store.connection.execute(REQUEUE, (now, job, store.queue)).rowcount > 0:
            back += store.connection.execute(PURGE, (job, store.queue)).rowcount
    return back


def _purge(store: Store, ids: tuple[str, ...]) -> int:
    return sum(store.connection.execute(PURGE, (job, store.queue)).rowcount for job in _chosen(store, ids))
