"""What a pool itself costs: microseconds per input around an `execute` that does nothing, 4 in parallel, no process."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import anyio

from bench.load import measure_async
from bench.loops import run_on
from bench.work import double

TASKS = 4
Execute = Callable[[str], Awaitable[None]]


def value(how: str, loop: str, seconds: float) -> float:
    """Microseconds per input."""

    async def run(inputs: Iterable[str], keep: Callable[[str], object]) -> None:
        async def execute(item: str) -> None:
            keep(double(item))

        await HOW[how](inputs, execute)

    measured = run_on(loop, measure_async, run, seconds)
    return 1e6 / float(measured.per_second)


async def bare_loop(inputs: Iterable[str], execute: Execute) -> None:
    """The least there is; nothing runs beside anything."""
    for item in inputs:
        await execute(item)


async def our_process(inputs: Iterable[str], execute: Execute) -> None:
    """Ours, with outcomes, statistics and a deadline for each input."""
    from worker_pool import WorkPool

    async with WorkPool(lambda: execute, max_size=TASKS, execute_timeout=60) as pool:
        await pool.process(inputs)


async def our_stream(inputs: Iterable[str], execute: Execute) -> None:
    """Ours, with every outcome in the user's hands."""
    from worker_pool import WorkPool

    async with (
        WorkPool(lambda: execute, max_size=TASKS, execute_timeout=60) as pool,
        pool.stream(inputs, ordered=False) as outcomes,
    ):
        async for _ in outcomes:
            pass


async def our_execute(inputs: Iterable[str], execute: Execute) -> None:
    """Ours, one call per input, from as many tasks as there are workers."""
    from worker_pool import WorkPool

    todo = iter(inputs)
    async with WorkPool(lambda: execute, max_size=TASKS, execute_timeout=60) as pool:

        async def caller() -> None:
            for item in todo:
                await pool.execute(item)

        async with anyio.create_task_group() as group:
            for _ in range(TASKS):
                group.start_soon(caller)


async def anyio_semaphore(inputs: Iterable[str], execute: Execute) -> None:
    """A task per input in a task group, bounded by a semaphore: what one writes by hand."""
    limit = anyio.Semaphore(TASKS)

    async def one(item: str) -> None:
        await execute(item)
        limit.release()

    async with anyio.create_task_group() as group:
        for item in inputs:
            await limit.acquire()
            group.start_soon(one, item)


async def asyncio_semaphore(inputs: Iterable[str], execute: Execute) -> None:
    """The same with asyncio's own."""
    limit = asyncio.Semaphore(TASKS)

    async def one(item: str) -> None:
        await execute(item)
        limit.release()

    async with asyncio.TaskGroup() as group:
        for item in inputs:
            await limit.acquire()
            group.create_task(one(item))


async def aiometer_run(inputs: Iterable[str], execute: Execute) -> None:
    """aiometer, which wants all inputs at once."""
    import aiometer

    await aiometer.run_on_each(execute, list(inputs), max_at_once=TASKS)


HOW = {
    "bare loop": bare_loop,
    "process": our_process,
    "stream": our_stream,
    "execute": our_execute,
    "anyio task group + semaphore": anyio_semaphore,
    "asyncio.TaskGroup + Semaphore": asyncio_semaphore,
    "aiometer": aiometer_run,
}
