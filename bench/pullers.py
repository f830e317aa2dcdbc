"""The usual way to feed an async function from an iterable: a few long-lived tasks that each pull the next input."""

from collections.abc import Awaitable, Callable, Iterable

import anyio

from bench.load import AsyncRun


def pull(tasks: int, execute: Callable[[str], Awaitable[str]]) -> AsyncRun:
    """A `run` that keeps `tasks` executions under way."""

    async def run(inputs: Iterable[str], keep: Callable[[str], object]) -> None:
        todo = iter(inputs)

        async def puller() -> None:
            for item in todo:
                keep(await execute(item))

        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(puller)

    return run
