"""A job: one input on its way from its source to its outcome. Private, and kept small: one is made per input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._delivery import Delivery
    from ._feeds import Feed


class Job:
    """An input, the call it belongs to, and how often it has run."""

    __slots__ = ("attempts", "feed", "index", "input", "since")

    alone = False  # whether nothing else may run beside it

    def __init__(self, feed: Feed, input: Any, index: int, since: float = 0.0) -> None:
        self.feed: Feed = feed
        self.input: Any = input
        self.index: int = index
        self.since: float = since  # when it began to wait for a worker; 0.0: it went straight to one
        self.attempts: int = 1


class DeliveryJob(Job):
    """An input that its source wants to hear about."""

    __slots__ = ("alone", "delivery")

    def __init__(self, feed: Feed, delivery: Delivery[Any], index: int, since: float) -> None:
        super().__init__(feed, delivery.value, index, since)
        self.attempts = delivery.attempt
        self.delivery = delivery
        self.alone = delivery.isolate
