"""A task of a pool that waits for that very pool: it works as long as somebody is left to do the work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._errors import PoolDeadlock
from ._lane import current_lane

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._engine import Engine


def is_inside(engine: Engine) -> bool:
    """Return whether an input of this pool is being executed here, or by who started this task."""
    lane = current_lane.get()
    return lane is not None and lane.host.engine is engine


@contextmanager
def nested(engine: Engine) -> Generator[None]:
    """Guard a wait for `engine`. The task that would be the last to wait is refused, so that the others go on.

    Only tasks of this process can be told from others: of what a worker's child asks for, nothing is known here.
    """
    lane = current_lane.get()
    if lane is None or lane.host.engine is not engine:
        yield
        return
    if not lane.nested and engine.nested + 1 >= engine.options.slots:
        raise PoolDeadlock(engine.options.slots)
    engine.nested += not lane.nested
    lane.nested += 1
    try:
        yield
    finally:
        lane.nested -= 1
        engine.nested -= not lane.nested
