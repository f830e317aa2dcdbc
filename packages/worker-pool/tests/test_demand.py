"""The rules of who may start and who waits, under random sequences of events: no event loop, no time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from worker_pool._demand import Demand
from worker_pool._roster import Phase, Roster


class Job:
    def __init__(self, call: Call, number: int, alone: bool = False) -> None:
        self.call = call
        self.number = number
        self.alone = alone
        self.runs = 0
        self.ends = 0


class Call:
    """A supply that notes what was taken from it."""

    def __init__(self, length: int | None, alone: frozenset[int] = frozenset()) -> None:
        self.length = length
        self.alone = alone
        self.jobs: list[Job] = []
        self.is_over = False

    in_stock = 0

    @property
    def is_simple(self) -> bool:
        return not self.alone

    def next(self) -> Job | None:
        if self.is_over or (self.length is not None and len(self.jobs) >= self.length):
            return None
        self.jobs.append(Job(self, len(self.jobs), len(self.jobs) in self.alone))
        return self.jobs[-1]

    take_now = next

    def poke(self) -> None: ...


class Lane:
    room = 1
    nested = 0

    def __init__(self, machine: PoolMachine | Two, worker: int) -> None:
        self.machine = machine
        self.worker = worker
        self.job: Job | None = None
        self.state = "expected"  # expected -> busy | idle -> woken -> busy | idle

    @property
    def load(self) -> int:
        return int(self.job is not None)

    def wake(self) -> None:
        assert self.state == "idle"
        self.state = "woken"

    def step(self) -> None:
        """What the task of a lane does when it runs: ask, and be busy or idle."""
        demand = self.machine.demand
        if self.state in ("expected", "woken"):
            demand.woke()
        if self.is_leaving:
            self.state = "out"
            demand.part(self)
            return
        self.job = self.ask()
        if self.job is not None:
            self.state = "busy"
            self.job.runs += 1
            assert self.job.runs - self.job.ends == 1
        else:
            self.state = "idle"
            demand.idle(self)
        demand.stir()

    def ask(self) -> Job | None:
        demand = self.machine.demand
        shortcut = demand.shortcut
        return demand.take() if shortcut is None else (shortcut.take_now() or demand.take())

    @property
    def is_leaving(self) -> bool:
        return self.machine.roster.phases.get(self.worker) is not Phase.ALIVE


class PoolMachine(RuleBasedStateMachine):
    """Drives a demand and its roster as hosts, lanes and calls do, in any order that can happen."""

    @initialize(
        max_size=st.integers(1, 4),
        min_size=st.integers(0, 4),
        concurrency=st.integers(1, 3),
        max_starting=st.integers(1, 3),
    )
    def begin(self, max_size: int, min_size: int, concurrency: int, max_starting: int) -> None:
        self.numbers = itertools.count(1)
        self.starts: list[int] = []
        self.calls: list[Call] = []
        self.lanes: list[Lane] = []
        self.is_closed = False
        self.roster = Roster(
            self.launch,
            max_size=max_size,
            min_size=min(min_size, max_size),
            concurrency=concurrency,
            max_starting=max_starting,
            max_failures=3,
        )
        self.demand: Demand[Job] = Demand(self.roster)
        self.roster.fill()

    def launch(self) -> int:
        self.starts.append(next(self.numbers))
        return self.starts[-1]

    # --- calls

    @rule(length=st.one_of(st.none(), st.integers(0, 5)), alone=st.frozensets(st.integers(0, 5), max_size=1))
    def call(self, length: int | None, alone: frozenset[int]) -> None:
        self.calls.append(Call(length, alone))
        self.demand.ready(self.calls[-1])

    @rule(data=st.data())
    def cancel_call(self, data: st.DataObject) -> None:
        live = [call for call in self.calls if not call.is_over]
        if not live:
            return
        call = data.draw(st.sampled_from(live))
        call.is_over = True
        self.demand.withdraw(call)
        for job in self.demand.purge(lambda job: job.call is call):
            job.ends += 1
            job.runs += 1
        for lane in self.lanes:
            if lane.job is not None and lane.job.call is call:
                self.leave(lane.worker)

    # --- workers

    @rule(data=st.data())
    def started(self, data: st.DataObject) -> None:
        if not self.starts:
            return
        worker = data.draw(st.sampled_from(self.starts))
        self.starts.remove(worker)
        self.roster.started(worker)
        for _ in range(self.roster.concurrency):
            lane = Lane(self, worker)
            self.lanes.append(lane)
            self.demand.join(lane)
            self.demand.looking()

    @rule(data=st.data())
    def start_failed(self, data: st.DataObject) -> None:
        if not self.starts:
            return
        worker = data.draw(st.sampled_from(self.starts))
        self.starts.remove(worker)
        if self.is_closed:
            self.roster.gone(worker)
            return
        self.roster.start_failed(worker, OSError())
        if self.roster.broken is not None:
            self.close()

    @rule()
    def rested(self) -> None:
        self.roster.rested()
        self.demand.stir()

    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        alive = [worker for worker, phase in self.roster.phases.items() if phase is Phase.ALIVE]
        if alive:
            self.leave(data.draw(st.sampled_from(alive)))

    def leave(self, worker: int) -> None:
        if self.roster.phases.get(worker) is Phase.ALIVE:
            self.roster.leaving(worker)

    @rule(data=st.data(), ended_well=st.booleans())
    def gone(self, data: st.DataObject, ended_well: bool) -> None:
        """A worker that leaves, or dies at once, is gone; what it ran ends, once."""
        workers = [worker for worker, phase in self.roster.phases.items() if phase is not Phase.STARTING]
        if not workers:
            return
        worker = data.draw(st.sampled_from(workers))
        self.leave(worker)
        for lane in [lane for lane in self.lanes if lane.worker == worker]:
            if lane.state in ("expected", "woken"):
                self.demand.woke()
            job, lane.job = lane.job, None
            self.lanes.remove(lane)
            self.demand.part(lane)
            if job is None:
                continue
            if ended_well or job.call.is_over or not self.demand.put_back(job):
                job.ends += 1
            else:
                job.runs -= 1  # it had not begun: not a run
        rest = self.roster.gone(worker, is_stillborn=not ended_well)
        assert (rest is None) == ended_well
        self.roster.gone(worker)  # said twice, counted once
        self.demand.stir()

    # --- lanes

    @rule(data=st.data())
    def lane_steps(self, data: st.DataObject) -> None:
        ready = [lane for lane in self.lanes if lane.state in ("expected", "woken", "busy")]
        if ready:
            self.run_lane(data.draw(st.sampled_from(ready)))

    def run_lane(self, lane: Lane) -> None:
        if lane.job is not None:
            lane.job.ends += 1
            lane.job = None
        lane.step()

    @rule(data=st.data())
    def dismissed_lane_ends(self, data: st.DataObject) -> None:
        dismissed = [lane for lane in self.lanes if lane.is_leaving and lane.state == "idle"]
        if dismissed:
            lane = data.draw(st.sampled_from(dismissed))
            lane.state = "out"
            self.demand.part(lane)

    @rule()
    def settle_down(self) -> None:
        """Let every lane that was woken run, as a loop does in the end: then nobody is idle beside work."""
        while woken := [lane for lane in self.lanes if lane.state in ("expected", "woken")]:
            woken[0].step()
        idle = [lane for lane in self.lanes if lane.state == "idle" and not lane.is_leaving]
        open_calls = [
            call
            for call in self.calls
            if not call.is_over and (call.length is None or len(call.jobs) < call.length) and not self.is_closed
        ]
        if idle and not self.demand.has_held:
            assert not open_calls, "an idle lane beside an input that could be taken"
            assert not self.demand.waiting, "an idle lane beside an input that was taken"

    @rule()
    def close(self) -> None:
        self.is_closed = True
        for job in self.demand.close():
            job.ends += 1
            job.runs += 1
        for call in self.calls:
            call.is_over = True

    # --- what always holds

    @invariant()
    def never_too_many_workers(self) -> None:
        assert len(self.roster.phases) <= self.roster.max_size
        assert self.roster.count(Phase.STARTING) <= self.roster.max_starting

    @invariant()
    def every_job_is_somewhere_exactly_once(self) -> None:
        running = sum(lane.job is not None for lane in self.lanes)
        taken = [job for call in self.calls for job in call.jobs]
        assert all(job.ends in (0, 1) and job.runs in (0, 1) for job in taken)
        assert len(taken) == sum(job.ends for job in taken) + running + self.demand.waiting

    @invariant()
    def no_more_is_taken_than_slots_are_coming_or_were_left_by_a_change(self) -> None:
        slots = self.roster.max_size * self.roster.concurrency
        assert self.demand.waiting <= 2 * slots

    @invariant()
    def a_job_alone_is_alone(self) -> None:
        running = [lane.job for lane in self.lanes if lane.job is not None]
        if any(job.alone for job in running):
            assert len(running) == 1

    @invariant()
    def idle_is_what_the_demand_thinks(self) -> None:
        assert {lane for lane in self.lanes if lane.state == "idle"} == set(self.demand._idle)
        assert self.demand._waking == sum(lane.state in ("expected", "woken") for lane in self.lanes)

    @invariant()
    def the_shortcut_is_right(self) -> None:
        if self.demand.shortcut is not None:
            assert len(self.demand._ring) == 1
            assert not self.demand._front
            assert self.demand._alone.job is None

    @invariant()
    def order_within_a_call_is_kept(self) -> None:
        for call in self.calls:
            assert [job.number for job in call.jobs] == list(range(len(call.jobs)))

    @invariant()
    def crash_loops_end(self) -> None:
        if self.roster.failures >= 3 and not self.is_closed:
            assert self.roster.count(Phase.ALIVE) + self.roster.count(Phase.STARTING)

    @invariant()
    def work_is_never_forgotten(self) -> None:
        """Where there is a taken job, somebody runs, starts, wakes, leaves, or a rest is on."""
        if self.demand.waiting and not self.is_closed:
            assert self.roster.phases or self.roster._rests


PoolMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestDemand = pytest.mark.timeout(60)(pytest.mark.fault(98)(PoolMachine.TestCase))  # it is computing, not hanging


# --- the end of a job that ran alone


class Two:
    """A pool of at most two workers: so many have started, and the first of them runs a job alone."""

    def __init__(self, workers: int) -> None:
        self.starts: list[int] = []
        self.roster = Roster(self.launch, max_size=2, max_starting=2, min_size=workers)
        self.demand: Demand[Job] = Demand(self.roster)
        self.roster.fill()
        self.demand.ready(Call(1, frozenset([0])))
        self.lanes: list[Lane] = []
        for worker in tuple(self.starts):
            self.roster.started(worker)
            lane = Lane(self, worker)
            self.lanes.append(lane)
            self.demand.join(lane)
            self.demand.looking()
        for lane in self.lanes:
            lane.step()

    def launch(self) -> int:
        self.starts.append(len(self.starts) + 1)
        return self.starts[-1]

    def lose_first(self) -> None:
        """The job that runs alone costs its worker."""
        self.lanes[0].job = None
        self.roster.leaving(self.lanes[0].worker)
        self.demand.part(self.lanes[0])


def test_a_job_alone_that_costs_its_worker_wakes_the_other_once() -> None:
    pool = Two(workers=2)
    assert [lane.state for lane in pool.lanes] == ["busy", "idle"]
    pool.demand.ready(Call(None))
    assert pool.lanes[1].state == "idle", "nothing runs beside it"
    pool.lose_first()
    assert (pool.lanes[1].state, pool.demand._waking) == ("woken", 1)
    pool.lanes[1].step()
    assert (pool.lanes[1].state, pool.demand._waking) == ("busy", 0)


def test_a_job_alone_that_costs_its_worker_starts_no_more_workers_than_may_be() -> None:
    pool = Two(workers=1)
    for job in (Job(Call(2), 0), Job(Call(2), 1)):  # two that are to run again
        assert pool.demand.put_back(job)
    assert len(pool.starts) == 1
    pool.lose_first()
    assert len(pool.roster.phases) == 2


def test_a_rest_is_as_long_as_that_after_the_last_failure() -> None:
    workers = itertools.count()
    roster = Roster(lambda: next(workers), max_size=2, max_starting=2, backoff=1)
    roster.start()
    roster.start()
    assert [roster.start_failed(worker, OSError()) for worker in (0, 1)] == [1, 2]
    roster.rested()
    assert not roster.may_start, "a second has passed, and the other waits for two"
    roster.rested()
    assert roster.may_start
