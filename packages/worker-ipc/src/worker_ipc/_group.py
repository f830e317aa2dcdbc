"""The tasks of a channel, for as long as its block lasts. Your own exception leaves as it is, never inside a group."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import create_task_group, current_effective_deadline, get_cancelled_exc_class

from ._readiness import current_loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import TaskGroup

    from ._readiness import Loop


@asynccontextmanager
async def bare_task_group() -> AsyncGenerator[tuple[TaskGroup, Loop], None]:
    """Run tasks, and the callbacks of a channel, for as long as the block lasts; then raise what the block raised."""
    failure: BaseException | None = None
    try:
        async with create_task_group() as group:
            loop = current_loop(group)
            try:
                yield group, loop
            except BaseException as error:
                failure = error
            loop.close()
            group.cancel_scope.cancel()
    except BaseExceptionGroup as crashed:
        # A task of ours failed: a handler ended in SystemExit, a KeyboardInterrupt landed there, or it is a bug. If the
        # block did too, that is worth more, unless it only saw its group cancelled. Of one error no group is made.
        if failure is None or _is_consequence(failure):
            raise crashed.exceptions[0] if len(crashed.exceptions) == 1 else crashed from None
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # the traceback holds this frame: without this they would keep each other alive


def _is_consequence(failure: BaseException) -> bool:
    """Tell whether this is a cancellation, and nobody cancels the block from outside."""
    return isinstance(failure, get_cancelled_exc_class()) and current_effective_deadline() != -math.inf
