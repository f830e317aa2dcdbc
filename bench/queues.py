"""Items per second through a queue in memory: one producer, one consumer, 100 places."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import anyio

from bench.load import measure_async
from bench.loops import run_on

PLACES = 100
Keep = Callable[[str], object]


def value(how: str, loop: str, seconds: float) -> float:
    """Items per second. Each is 'doubled' by the consumer, so that the load can check them as it does all others."""

    async def run(inputs: Iterable[str], keep: Keep) -> None:
        await HOW[how](inputs, lambda item: keep(item * 2))

    return float(run_on(loop, measure_async, run, seconds).per_second)


async def our_queue(inputs: Iterable[str], keep: Keep) -> None:
    from worker_sources import QueueSource

    source = QueueSource[str](PLACES)

    async def produce() -> None:
        for item in inputs:
            await source.put(item)
        source.close()

    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        async for item in source:
            keep(item)


async def asyncio_queue(inputs: Iterable[str], keep: Keep) -> None:
    queue: asyncio.Queue[str | None] = asyncio.Queue(PLACES)

    async def produce() -> None:
        for item in inputs:
            await queue.put(item)
        await queue.put(None)

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        while (item := await queue.get()) is not None:
            keep(item)


async def memory_stream(inputs: Iterable[str], keep: Keep) -> None:
    send, receive = anyio.create_memory_object_stream[str](PLACES)

    async def produce() -> None:
        async with send:
            for item in inputs:
                await send.send(item)

    async with anyio.create_task_group() as group, receive:
        group.start_soon(produce)
        async for item in receive:
            keep(item)


HOW: dict[str, Callable[[Iterable[str], Keep], Awaitable[None]]] = {
    "ours: QueueSource": our_queue,
    "asyncio.Queue": asyncio_queue,
    "anyio memory stream": memory_stream,
}
