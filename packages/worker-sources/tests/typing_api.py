"""What type checkers must infer. Not run: mypy and pyright read it, both strict; each `ignore` must be needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from worker_sources import (
    DeadLetter,
    Delivery,
    EventSource,
    IterableSource,
    QueueSource,
    SqliteSource,
    batched,
    limited,
    mapped,
    merge,
    throttle,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def numbers() -> Iterator[int]:
    yield 1


async def later() -> AsyncIterator[str]:
    yield "a"


async def double(x: int) -> float:
    return x * 2.0


async def in_memory() -> None:
    queue = QueueSource[int](maxsize=1)
    assert_type(await queue.receive(), int)
    assert_type(queue.receive_nowait(), int)
    assert_type(queue.total, int | None)
    await queue.put("one")  # type: ignore[arg-type]
    async for item in queue:
        assert_type(item, int)
    async with QueueSource[str]() as entered:
        assert_type(entered, QueueSource[str])
    event = EventSource[str](overflow="drop_oldest")
    event.trigger_threadsafe(1)  # type: ignore[arg-type]
    EventSource[str](overflow="wait")  # type: ignore[arg-type]


async def iterables() -> None:
    assert_type(IterableSource([1, 2]), IterableSource[int])
    assert_type(IterableSource(numbers), IterableSource[int])
    assert_type(IterableSource(later), IterableSource[str])
    assert_type(IterableSource(later()), IterableSource[str])
    IterableSource(5)  # type: ignore[arg-type]


async def composed(queue: QueueSource[int]) -> None:
    assert_type(throttle(queue, 1), "AsyncIterator[int]")
    assert_type(limited(queue, 1), "AsyncIterator[int]")
    assert_type(batched(queue, 2), "AsyncIterator[list[int]]")
    assert_type(mapped(queue, str), "AsyncIterator[str]")
    assert_type(mapped(queue, double), "AsyncIterator[float]")
    async with merge(queue, queue) as both:
        assert_type(await both.receive(), int)


async def durable() -> None:
    async with SqliteSource[int]("jobs.db") as source:
        assert_type(source, SqliteSource[int])
        assert_type(await source.put(1, key="k"), str)
        await source.put("one")  # type: ignore[arg-type]
        deliveries = await source.receive(10)
        assert_type(deliveries, list[Delivery[int]])
        assert_type(await source.renew(deliveries), list[Delivery[int]])
        assert_type(await source.dead.list(), list[DeadLetter[int]])
        async for delivery in source:
            async with delivery as value:
                assert_type(value, int)
            assert_type(await delivery.ack(), bool)
