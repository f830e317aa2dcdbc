"""Notice tasks that a coroutine leaves running in its event loop, while the loop still is there to be asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import anyio

from ._leaks import PATIENCE, LeakError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def run_without_stray_tasks(function: Callable[[], Awaitable[T]], *, patience: float = PATIENCE) -> T:
    """Await `function()` and raise LeakError if it leaves tasks that still run `patience` seconds later.

    An event loop's own teardown cancels what is left, so that after it nothing can be seen: hence inside.
    """
    before = {task.id for task in anyio.get_running_tasks()}
    result = await function()
    deadline = time.monotonic() + patience  # not the loop's clock: a test may have replaced it
    while stray := [task for task in anyio.get_running_tasks() if task.id not in before]:
        if time.monotonic() > deadline:
            raise LeakError([f"task {task.name!r}" for task in stray])
        await anyio.sleep(0.001)
    return result
