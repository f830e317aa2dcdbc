"""A pool in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ._roster import Phase

if TYPE_CHECKING:
    from ._engine import Engine


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot. Counts are since the pool was made, times are seconds in sum over all inputs."""

    alive: int
    """Workers that can run inputs."""
    starting: int
    """Workers that are not ready yet."""
    leaving: int
    """Workers that take nothing more. `alive + starting + leaving` never exceeds `max_size`."""
    running: int
    """Inputs that workers have now."""
    waiting: int
    """Inputs that were taken from a source, or given to `execute`, and wait for a worker now."""
    succeeded: int
    """Inputs that ended with a result."""
    failed: int
    """Inputs that ended with an error."""
    unfinished: int
    """Inputs that ended without either, begun or not: their call was cancelled, or the pool shut down or broke."""
    handed_back: int
    """Those of `unfinished` that their source took back."""
    retried: int
    """Runs that failed and were followed by another."""
    lost: int
    """Deliveries that somebody else may have now, some of them also among `succeeded`: see `Summary.lost`."""
    dropped: int
    """Answers for inputs that had been settled before: a worker was late, or spoke twice."""
    started: int
    """Workers that became ready."""
    start_failures: int
    """Workers that could not be started."""
    stopped: int
    """Workers that ended."""
    wait_time: float
    """Time between the taking of an input and the beginning of its run."""
    run_time: float
    """Time that inputs ran."""


def statistics_of(engine: Engine) -> Statistics:
    """Add up what is over and what goes on."""
    tally = replace(engine.tally)
    for feed in engine.feeds:
        tally.add(feed)
    tally.run_time += sum(host.info.run_time for host in engine.hosts if host.seats)
    phases = list(engine.roster.phases.values())
    return Statistics(
        alive=phases.count(Phase.ALIVE),
        starting=phases.count(Phase.STARTING),
        leaving=phases.count(Phase.LEAVING),
        running=sum(seat.load for host in engine.hosts for seat in host.seats),
        waiting=engine.demand.waiting + sum(feed.in_stock for feed in engine.feeds),
        **asdict(tally),
    )
