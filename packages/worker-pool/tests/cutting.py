"""Cancelling a call in the middle, however long a busy machine takes to get there."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio


async def cut(call: Callable[[Any], Awaitable[Any]], input: Any) -> None:
    """Begin a call, and cancel it when it waits."""
    async with anyio.create_task_group() as group:
        group.start_soon(call, input)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
