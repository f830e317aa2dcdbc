"""Delivery: one job in the hands of one consumer, on loan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from ._sqlite_store import Held, Store

T = TypeVar("T")


class Settler(Protocol):
    """What a delivery needs of its source."""

    async def _settle(self, change: Callable[[Store, int], bool], wakes: bool) -> bool: ...


class Delivery(Generic[T]):
    """A job on loan for `source.lease` seconds. Settle it once, with one of the four methods.

    Each returns True if the job was still yours. False: the lease had run out and the job is somebody else's by now
    (or you have settled it before); nothing has changed, and your work may be done twice. After an error of the
    file nothing has changed either, and you may try again. Cancelled, either it raises and nothing was changed, or
    it returns.

    As a context manager it settles itself: `ack` at the end of the block, `hand_back` if that is cancelled,
    `nack` on any other exception (which is raised on).

        async for delivery in source:
            async with delivery as value:
                await work(value)

    `value`: what was put. `id`: the same on every redelivery, and never given to another job of this file: the key
    for making your work idempotent. `attempt`: counts from 1. `last`: no attempt will follow a failure. `isolate`:
    processes died on it; run nothing else beside it.
    """

    __slots__ = ("_held", "_settled", "_source", "attempt", "id", "isolate", "last", "value")

    def __init__(
        self, source: Settler, held: Held, value: T, *, attempt: int, last: bool = False, isolate: bool = False
    ) -> None:
        self._source = source
        self._held = held
        self._settled = False
        self.value: T = value
        self.id: str = str(held.id)
        self.attempt: int = attempt
        self.last: bool = last
        self.isolate: bool = isolate

    def __repr__(self) -> str:
        return f"<Delivery {self.id} attempt={self.attempt} value={self.value!r}>"

    async def ack(self) -> bool:
        """Done. The job is removed."""
        held = self._held
        return await self._settle(lambda store, now: store.ack(held))

    async def nack(self, delay: float = 0) -> bool:
        """Failed: try it again in `delay` seconds. After the last attempt it goes to the dead letters."""
        held, milliseconds = self._held, round(delay * 1000)
        return await self._settle(lambda store, now: store.nack(held, milliseconds, now), wakes=True)

    async def hand_back(self) -> bool:
        """Not tried: ready again at once, first in line. The attempt does not count."""
        held = self._held
        return await self._settle(lambda store, now: store.hand_back(held), wakes=True)

    async def reject(self, reason: str) -> bool:
        """Never to be tried again: it goes to the dead letters, with the reason."""
        held = self._held
        return await self._settle(lambda store, now: store.reject(held, reason, now))

    async def __aenter__(self) -> T:
        return self.value

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            if error is None:
                await self.ack()
            elif isinstance(error, Exception):
                await self.nack()
            else:
                await self.hand_back()

    async def _settle(self, change: Callable[[Store, int], bool], *, wakes: bool = False) -> bool:
        if self._settled:
            return False
        self._settled = True
        try:
            return await self._source._settle(change, wakes)  # pyright: ignore[reportPrivateUsage]
        except BaseException:
            self._settled = False
            raise
