"""An acknowledging source in memory, which keeps a record: what the rules of settling are proven with."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class MemoryDelivery:
    def __init__(self, source: MemoryAcks, value: Any, attempt: int) -> None:
        self.source = source
        self.value = value
        self.id = str(value)
        self.attempt = attempt
        self.isolate = value in source.suspects
        self.last = attempt >= source.max_attempts
        self.settled: str | None = None

    async def _settle(self, verb: str) -> bool:
        await anyio.lowlevel.checkpoint()
        if self.settled is not None:
            raise AssertionError(f"{self.value!r} was settled twice: {self.settled}, then {verb}")
        if self.source.broken:
            raise ConnectionError("the broker is away")
        self.settled = verb
        if self not in self.source.held:
            return False
        self.source.held.discard(self)
        self.source.record.append((verb, self.value))
        self.source.changed()
        return True

    async def ack(self) -> bool:
        return await self._settle("ack")

    async def nack(self, delay: float = 0) -> bool:
        self.source.delays.append(delay)
        if kept := await self._settle("nack"):
            self.source.waiting.append((self.value, self.attempt + 1))
            self.source.changed()
        return kept

    async def hand_back(self) -> bool:
        if kept := await self._settle("hand_back"):
            self.source.waiting.appendleft((self.value, self.attempt))
        return kept

    async def reject(self, reason: str) -> bool:
        self.source.reasons.append(reason)
        return await self._settle("reject")


class MemoryAcks:
    """Endless until closed. `record` lists (verb, value) in order."""

    def __init__(self, values: Iterable[Any], *, lease: float | None = None, max_attempts: int = 3) -> None:
        self.lease = lease
        self.max_attempts = max_attempts
        self.waiting: deque[tuple[Any, int]] = deque((value, 1) for value in values)
        self.held: set[MemoryDelivery] = set()
        self.record: list[tuple[str, Any]] = []
        self.delays: list[float] = []
        self.reasons: list[str] = []
        self.suspects: set[Any] = set()
        self.stolen: set[Any] = set()
        self.asked: list[int] = []
        self.most_held = 0
        self.renewals = 0
        self.broken = False
        self.is_closing = False
        self._event = anyio.Event()

    def counts(self) -> dict[str, int]:
        return dict(Counter(verb for verb, _ in self.record))

    def close(self) -> None:
        self.is_closing = True
        self.changed()

    def changed(self) -> None:
        self._event.set()
        self._event = anyio.Event()

    async def receive(self, max_items: int) -> Sequence[MemoryDelivery]:
        self.asked.append(max_items)
        if not self.waiting:
            if self.is_closing and not self.held:
                raise anyio.EndOfStream
            with anyio.move_on_after(0.05):
                await self._event.wait()
        await anyio.lowlevel.checkpoint()
        given = []
        while self.waiting and len(given) < max_items:
            given.append(MemoryDelivery(self, *self.waiting.popleft()))
        self.held.update(given)
        self.most_held = max(self.most_held, len(self.held))
        return given

    async def renew(self, held: Sequence[Any]) -> Sequence[MemoryDelivery]:
        self.renewals += 1
        await anyio.lowlevel.checkpoint()
        if self.broken:
            raise ConnectionError("the broker is away")
        lost = [delivery for delivery in held if delivery.value in self.stolen or delivery not in self.held]
        self.held.difference_update(lost)
        return lost
