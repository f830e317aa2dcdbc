"""A task of a pool that waits for that very pool: it works as long as somebody is left to do the work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._errors import PoolDeadlock
from ._home import own_home
from ._lane import current_run

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._engine import Engine
    from ._lane import Lane


def is_inside(engine: Engine) -> bool:
    """Return whether an input of this pool is being executed here, or by whoever started this task."""
    return _lane_of(engine) is not None


def is_part(engine: Engine) -> bool:
    """Return whether the pool waits for this task before it ends, so that this can't wait for that."""
    return own_home.get() is engine.home or is_inside(engine)


@contextmanager
def nested(engine: Engine) -> Generator[None]:
    """Guard a wait for `engine`. The task that would be the last to wait is refused, so that the others go on.

    Only tasks of this process can be told from others: of what a worker's child asks for, nothing is known here.
    """
    lane = _lane_of(engine)
    if lane is None:
        yield
        return
    runs_alone = lane.job is not None and lane.job.alone
    if runs_alone or (not lane.nested and engine.nested + 1 >= engine.options.slots):
        raise PoolDeadlock(engine.options.slots, alone=runs_alone)
    engine.nested += not lane.nested
    lane.nested += 1
    if engine.demand.has_held:  # a job that is to run alone need not wait for one that only waits
        engine.demand.stir()
    try:
        yield
    finally:
        lane.nested -= 1
        engine.nested -= not lane.nested


def _lane_of(engine: Engine) -> Lane | None:
    lane, block = current_run.get() or (None, 0)
    # A task that outlived the input that started it holds no slot any more.
    is_here = lane is not None and lane.host.engine is engine and lane.is_engaged and lane.block == block
    return lane if is_here else None
