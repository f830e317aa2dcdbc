"""The ladder by which a child is ended: ask, SIGTERM, SIGKILL to the group, and then it is over either way.

    0 s            ask: the owner closes the channel, and a child that listens leaves by itself
    0.5 s          SIGTERM to the child (and SIGCONT, so that a stopped one hears it); sooner if `grace` is under 1 s
    grace          SIGKILL to the child's whole group: also a stopped one, also one that is stuck in C
    grace + 2 s    give up: only a process that the kernel itself can't end (disk wait) is still there

Each step comes only if the child is still alive. Every caller climbs down at its own pace: an impatient second
caller (`grace=0`) does not wait for a patient first one.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

import anyio

__all__ = ("ASK_TIME", "KILL_TIME", "climb_down")

ASK_TIME = 0.5
"""Seconds in which a child may leave by itself. A blocking child needs some 30 ms to shut an interpreter down."""

KILL_TIME = 2.0
"""Seconds after SIGKILL until the child is given up. A killed process of many GiB needs some 100 ms to be torn down."""

logger = logging.getLogger("worker_ipc")


class Endable(Protocol):
    """What the ladder needs to know of a process."""

    @property
    def pid(self) -> int:
        """For the warning."""
        ...

    def poll(self) -> bool:
        """Look whether it is dead, and reap it if so."""
        ...

    async def wait_dead(self) -> None:
        """Return once the death was seen."""
        ...

    def terminate(self) -> None:
        """SIGTERM."""
        ...

    def kill(self) -> None:
        """SIGKILL to the group."""
        ...


async def climb_down(process: Endable, ask: Callable[[], None], grace: float) -> None:
    """End `process`. Returns within `grace` + 2 seconds, with the process reaped unless it can't be killed.

    Not cancellable: it is bounded instead. It relies on no watcher: the last word is always a look of its own.
    """
    with anyio.CancelScope(shield=True):
        start = anyio.current_time()
        for after, step in _steps(process, ask, grace):
            if await _is_dead_by(process, start + after):
                return
            step()
        if not await _is_dead_by(process, start + grace + KILL_TIME):
            logger.warning("process %d is still there %s s after SIGKILL; it is left alone", process.pid, KILL_TIME)


def _steps(process: Endable, ask: Callable[[], None], grace: float) -> list[tuple[float, Callable[[], None]]]:
    steps: list[tuple[float, Callable[[], None]]] = [(0.0, partial(_ask, ask)), (grace, process.kill)]
    if grace > 0:
        steps.insert(1, (min(ASK_TIME, grace / 2), process.terminate))
    return steps


async def _is_dead_by(process: Endable, deadline: float) -> bool:
    if not process.poll() and anyio.current_time() < deadline:
        with anyio.CancelScope(deadline=deadline):
            await process.wait_dead()
    return process.poll()


def _ask(ask: Callable[[], None]) -> None:
    try:
        ask()
    except Exception:
        logger.exception("a child could not be asked to leave; it is made to")
