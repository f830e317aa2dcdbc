"""Acknowledged delivery: a source that wants to hear what became of each input, and gives it out again if it doesn't.

Protocols only: a source implements them without importing this package. One with a method `renew` acknowledges.

    what happened to `execute(delivery.value)`      what the pool does
    it returned                                     `ack()`
    it raised, or its worker died                   `nack(delay)`, the delay from `Retry`; `reject` if it is the `last`
    it did not start, or the pool shut down         `hand_back()`: does not count as an attempt
    `renew` says that the lease is lost             cancel it and settle nothing: somebody else has it

The pool renews all it holds every third of a `lease`, for as long as it holds anything, also while it shuts down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T_co = TypeVar("T_co", covariant=True)


class Delivery(Protocol[T_co]):
    """One input, held on a lease. Its verbs return False if the lease was lost; then somebody else decides."""

    @property
    def value(self) -> T_co:
        """The input."""
        ...

    @property
    def id(self) -> str:
        """The same on every redelivery: the key to make its effects idempotent."""
        ...

    @property
    def attempt(self) -> int:
        """1 for the first time it is given out; counted by the source."""
        ...

    @property
    def last(self) -> bool:
        """Whether the source will not give it out again after another failure."""
        ...

    @property
    def isolate(self) -> bool:
        """Whether to run it alone: those who held it before have died."""
        ...

    async def ack(self) -> bool:
        """It is done."""
        ...

    async def nack(self, delay: float = 0) -> bool:
        """It failed: give it out again, not before `delay` seconds."""
        ...

    async def hand_back(self) -> bool:
        """It was not tried: give it out again, without counting this time."""
        ...

    async def reject(self, reason: str) -> bool:
        """It is hopeless: put it where the dead letters are."""
        ...


class AckSource(Protocol[T_co]):
    """A source of deliveries."""

    @property
    def lease(self) -> float | None:
        """Seconds after which a delivery that was not renewed is given to somebody else. None: never."""
        ...

    async def receive(self, max_items: int) -> Sequence[Delivery[T_co]]:
        """Wait for deliveries and return at most `max_items`.

        It may return none after a short wait. Raises `anyio.EndOfStream` at the end. When the pool shuts down it
        is given 0.6 s to return, then cancelled: what it had claimed then it hands back itself.
        """
        ...

    async def renew(self, held: Sequence[Any]) -> Sequence[Delivery[T_co]]:
        """Prolong the leases of `held` and return those that are lost."""
        ...
