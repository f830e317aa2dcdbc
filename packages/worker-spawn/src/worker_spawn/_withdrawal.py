"""No input, and no result, waits behind a slow input: what has not begun is taken back, what is finished is fetched.

A child answers its inputs one after another. They are sent ahead only as long as they are quick, but the next one
may not be. So while more than one is at a child, somebody looks every `TICK` whether it still makes progress.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ._function_calls import FunctionCalls

TICK = 0.01  # seconds: ten times the work that is sent ahead, a tenth of what a person notices


@asynccontextmanager
async def withdrawing(worker: FunctionCalls[Any, Any]) -> AsyncGenerator[None, None]:
    """Watch `worker` while the block runs."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, worker)
        yield
        tasks.cancel_scope.cancel()


async def _watch(worker: FunctionCalls[Any, Any]) -> None:
    while True:
        worker.crowded = anyio.Event()
        await worker.crowded.wait()
        worker.crowded = None
        while worker.crowd > 1:
            before = worker.answered
            await anyio.sleep(TICK)
            if worker.answered == before:
                worker.fetch()  # what is finished may wait for the end of its list, and that may take long
            if worker.answered == before and worker.crowd > 1:
                await worker.take_back()
