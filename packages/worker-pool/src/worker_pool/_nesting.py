"""A task of a pool that waits for that very pool: it works as long as somebody is left to do the work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

from ._errors import PoolDeadlock
from ._home import own_home
from ._lane import current_run

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._engine import Engine
    from ._host import Host
    from ._lane import Lane


class Nesting:
    """The lanes whose inputs wait for this pool, and whether somebody is left to do what they wait for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waits: dict[Lane, list[anyio.CancelScope]] = {}  # by which they can be told that nobody is

    @property
    def is_stuck(self) -> bool:
        """Whether those that are here only wait for one that is not."""
        return bool(self._waits) and not any(map(self._serves, self._engine.hosts))

    def begin(self, lane: Lane, scope: anyio.CancelScope) -> None:
        """An input is going to wait. Refuse that to the last one, so that the others go on."""
        is_first = lane not in self._waits
        self._waits.setdefault(lane, []).append(scope)
        lane.nested += 1
        if is_first and self._is_vain():
            self.end(lane, scope)
            raise PoolDeadlock(self._engine.options.slots, leaving=lane.host.leaving)

    def end(self, lane: Lane, scope: anyio.CancelScope) -> None:
        """It waits no more."""
        lane.nested -= 1
        if scope in (scopes := self._waits.get(lane, [])):
            scopes.remove(scope)
            if not scopes:
                del self._waits[lane]

    def check(self) -> None:
        """A worker is leaving, or a slot of one that is: see whether that was the last that could do something.

        Then its place is needed for another, and an input that waits there holds it up: that one is refused. When it
        has ended, this is called again.
        """
        if self._waits and self._is_vain():
            lane = next((lane for lane in self._waits if lane.host.leaving), None)
            for scope in self._waits.pop(lane) if lane is not None else ():
                scope.cancel()

    def _is_vain(self) -> bool:
        engine = self._engine
        # A pool that is closed has dropped what they wait for, or it runs.
        return not engine.is_closed and engine.roster.startable <= 0 and self.is_stuck

    def _serves(self, host: Host) -> bool:
        """Whether this worker, or the one in its place, will do something by itself."""
        if not any(seat in self._waits for seat in host.seats):
            return True
        return any(seat not in self._waits and (seat.load or not host.leaving) for seat in host.seats)


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
    if lane.job is not None and lane.job.alone:
        raise PoolDeadlock(engine.options.slots, alone=True)
    scope = anyio.CancelScope()
    engine.nesting.begin(lane, scope)
    if engine.demand.has_held:  # a job that is to run alone need not wait for one that only waits
        engine.demand.stir()
    try:
        with scope:
            yield
    finally:
        engine.nesting.end(lane, scope)
    if scope.cancelled_caught:
        raise PoolDeadlock(engine.options.slots, leaving=True)


def _lane_of(engine: Engine) -> Lane | None:
    lane, block = current_run.get() or (None, 0)
    # A task that outlived the input that started it holds no slot any more.
    is_here = lane is not None and lane.host.engine is engine and lane.is_engaged and lane.block == block
    return lane if is_here else None
