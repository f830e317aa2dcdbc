"""A task group that lets the user's own exception leave as it is, never inside an ExceptionGroup."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import create_task_group

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import TaskGroup


@asynccontextmanager
async def bare_task_group() -> AsyncGenerator[TaskGroup, None]:
    """Run tasks for as long as the block lasts; then cancel them, and raise what the block raised."""
    failure: BaseException | None = None
    try:
        async with create_task_group() as group:
            try:
                yield group
            except BaseException as error:
                failure = error
            group.cancel_scope.cancel()
    except BaseExceptionGroup as crashed:
        # A task of ours failed (a KeyboardInterrupt landed there, or it is a bug). If the block did too, that is worth
        # more; and of one error no group is made.
        if failure is None:
            raise crashed.exceptions[0] if len(crashed.exceptions) == 1 else crashed from None
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # the traceback holds this frame: without this they would keep each other alive
