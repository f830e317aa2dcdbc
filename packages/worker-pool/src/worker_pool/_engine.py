"""What the parts of a pool share, and how they come and go. The public face is `_pool.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from ._acks import PATIENCE, AckFeed
from ._demand import Demand
from ._errors import PoolBroken, PoolClosed, told
from ._events import Events, TaskFinished, TaskStarted, WorkerStarted, WorkerStartFailed, WorkerStopped, log
from ._feeds import Feed
from ._foreign import foreign_dropped
from ._home import Home, own_home
from ._host import Host
from ._nesting import Nesting
from ._pump import Pump, pulls, pump_for, resolve
from ._roster import MAX_REST, Roster
from ._tally import Tally
from ._watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from anyio.abc import TaskGroup

    from ._feeds import Sink
    from ._job import Job
    from ._options import Options
    from ._outcome import Failure, Outcome
    from ._verdict import Verdict
    from ._worker import WorkerInfo


class Engine:
    """Brings feeds, hosts, demand and watchdog together."""

    def __init__(self, make_worker: Callable[[], Any], options: Options) -> None:
        self.make_worker = make_worker
        self.options = options
        self.roster: Roster = Roster(
            self._launch,
            max_size=options.max_size,
            min_size=options.min_size,
            concurrency=options.concurrency,
            max_starting=options.max_starting,
            max_failures=options.max_start_failures,
            backoff=options.start_backoff,
        )
        self.demand: Demand[Job] = Demand(self.roster)
        self.events: Events = Events()
        self.tally: Tally = Tally()
        self.feeds: set[Feed] = set()
        self.hosts: set[Host] = set()
        self.slots: int = options.slots  # inputs that the workers can have at once
        self.ended: anyio.Event = anyio.Event()
        self.is_closed: bool = False
        self.watchdog: Watchdog = Watchdog()
        self._group: TaskGroup | None = None
        self.home: Home = Home()
        self._number = 0
        self.nesting: Nesting = Nesting(self)
        self._quiet = anyio.Event()  # set when, after the close, no call and no worker is left

    # --- calls

    def check_open(self) -> None:
        """Refuse a call that comes too early or too late."""
        if self.roster.broken is not None:
            raise PoolBroken(self.roster.failures, self.roster.broken)
        if self.is_closed:
            raise PoolClosed
        if self._group is None:
            raise RuntimeError("enter the pool first: async with WorkPool(make_worker) as pool")
        self.home.check_here()

    @property
    def succeeded(self) -> int:
        """Inputs that ended with a result so far."""
        return self.tally.succeeded + sum(feed.succeeded for feed in self.feeds)

    def feed(self, source: Any, sink: Sink | None) -> Feed:
        """Make the feed of a call that takes its inputs from `source`."""
        self.check_open()
        self.home.check_loop()
        source = resolve(source)
        if hasattr(source, "renew"):
            acks = AckFeed(self, source, sink)
            acks.pump = Pump(acks, acks.fetch, None, PATIENCE)
            return acks
        feed = Feed(self, pulls(source), sink)
        feed.pump = pump_for(feed, source)
        return feed

    def begin(self, feed: Feed) -> None:
        """Let a feed take part. Jobs of it may run, and end, before this returns."""
        self.feeds.add(feed)
        if isinstance(feed, AckFeed):
            self.spawn(feed.renew)
        if feed.pump is not None:
            self.spawn(feed.pump.run)
        self.demand.ready(feed)

    def spawn(self, function: Callable[..., Coroutine[Any, Any, object]], *arguments: Any) -> None:
        """Run `function` in a task of the pool, shielded: the pool decides when it ends, also under cancellation."""
        assert self._group is not None
        self._group.start_soon(self._shielded, function, arguments)

    async def leave(self, feed: Feed) -> None:
        """End a call, finished or not: cancel what runs of it, and wait until it has let go.

        An execute that ignores its cancellation is waited for no longer than `destroy_timeout`.
        """
        if not feed.finished.is_set():
            feed.cancel()
            with anyio.move_on_after(self.options.destroy_timeout, shield=True):
                await feed.finished.wait()

    def feed_finished(self, feed: Feed) -> None:
        """A call has ended."""
        self.feeds.discard(feed)
        self.tally.add(feed)
        self.check_quiet()

    def cut(self, is_unwanted: Callable[[Job], bool], verdict: Verdict) -> None:
        """Cancel the running jobs that are unwanted; `verdict` is what becomes of them."""
        for host in tuple(self.hosts):
            for seat in host.seats:
                seat.cut_where(is_unwanted, verdict)

    def put_back(self, job: Job) -> None:
        """A job has not started, or is to run again."""
        if job.feed.is_dropped or not self.demand.put_back(job):
            job.feed.withdrawn(job)

    @property
    def reach(self) -> int:
        """How many inputs the workers would have at once now: more than `options.slots` if they take long lists."""
        return max(self.options.slots, sum(seat.reach for host in self.hosts for seat in host.seats))

    def task_starts(self, job: Job, info: WorkerInfo, now: float) -> None:
        """A job that has waited, or that somebody wants to hear of, begins to run."""
        waited = now - job.since if job.since else 0.0
        job.since = 0.0
        self.tally.wait_time += waited
        if self.events:
            self.events.tell(TaskStarted(job.input, info, job.attempts, waited))

    def tell_finished(self, outcome: Outcome[Any, Any] | Failure[Any], again: bool = False) -> None:
        """Tell listeners, if there are any, that a run has ended."""
        if self.events:
            self.events.tell(TaskFinished(outcome, again))

    # --- workers

    def _launch(self) -> Host:
        assert self._group is not None
        self._number += 1
        host = Host(self, self._number)
        self.hosts.add(host)
        self.watchdog.watched.add(host)
        self.home.call(self._group.start_soon, host.run)
        return host

    def started(self, host: Host, event: WorkerStarted) -> None:
        """A worker is ready."""
        self.tally.started += 1
        slots = self.options.max_size * sum(seat.capacity for seat in host.seats)
        if slots > self.slots:  # its lists hold more than one input
            self.slots = slots
            for feed in tuple(self.feeds):
                if feed.sink is None:  # the others read ahead of whoever looks at outcomes: see `OutcomeStream`
                    feed.widen(2 * slots)
        self.roster.started(host)
        self.watchdog.watched.update(host.seats)
        log.debug("worker %r is ready after %.3f s", host.info.id, event.took)
        if self.events:
            self.events.tell(event)

    def start_failed(self, host: Host, error: BaseException) -> None:
        """A worker could not be started; after a while another is tried, or the pool is broken."""
        self.hosts.discard(host)
        self.watchdog.watched.discard(host)
        if self.is_closed:
            self.roster.gone(host)
            self.check_quiet()
            return
        self.tally.start_failures += 1
        delay = self.roster.start_failed(host, error, is_stuck=self.nesting.is_stuck)
        failures = self.roster.failures
        log.warning("a worker could not be started (%d in a row): %s", failures, told(error))
        if self.events:
            self.events.tell(WorkerStartFailed(error, failures))
        if self.roster.broken is not None:
            self._drop_all(broken := PoolBroken(failures, error))
            log.error("the pool is broken: %s", broken)
        else:
            self.watchdog.call_later(delay, self._rested)

    def _rested(self) -> None:
        self.roster.rested()
        self.demand.room_grew()

    def gone(self, host: Host, event: WorkerStopped) -> None:
        """A worker is no more."""
        self.hosts.discard(host)
        self.watchdog.watched.difference_update(host.seats, [host])
        self.tally.stopped += 1
        self.tally.run_time += host.info.run_time
        log.debug("worker %r is gone: %s", host.info.id, event.reason)
        if self.events:
            self.events.tell(event)
        is_stillborn = event.reason == "crashed" and not host.info.tasks and host.info.age < MAX_REST
        delay = self.roster.gone(host, is_stillborn=is_stillborn)
        if delay is not None:
            self.watchdog.call_later(delay, self._rested)
        self.demand.room_grew()
        self.check_quiet()

    # --- begin and end

    def start(self, group: TaskGroup) -> None:
        """Begin to work in `group`."""
        self._group = group
        self.home.enter()
        self._grace = anyio.CancelScope()  # not sooner: it needs a running event loop, and a pool can be made without
        self.spawn(self._watch)
        self.roster.fill()

    async def _watch(self) -> None:
        try:
            await self.watchdog.run()
        finally:
            if not self.ended.is_set():  # the event loop was taken from under us, with the block still open
                self.home.leave()

    def close(self, grace: float) -> None:
        """Take nothing more; in `grace` seconds cancel what still runs. A second call can only shorten the time."""
        if self._group is None:  # it was not entered, and never opens
            self.is_closed = self.roster.is_closed = True
            self.ended.set()
        if self.is_closed and self.ended.is_set():
            return
        self.home.check_loop()
        self._grace.deadline = min(self._grace.deadline, anyio.current_time() + grace)
        if self.is_closed:
            return
        self.is_closed = True
        self._drop_all(None)
        for host in tuple(self.hosts):
            host.leave("closed")
        self.spawn(self._finish)
        self.check_quiet()

    def _drop_all(self, error: PoolBroken | None) -> None:
        for feed in self.feeds:
            feed.error = feed.error or error
        for job in self.demand.close():
            job.feed.withdrawn(job)
        for feed in tuple(self.feeds):
            feed.drop_unstarted(error)

    def interrupted(self) -> None:
        """A second Ctrl-C was raised amid our code (asyncio only): all tasks end, nobody waits for what they count."""
        self.roster.is_closed = True  # a task may be ended before its first step: that worker would never be counted
        for host in self.hosts:
            host.abort()
        self.watchdog.stop()
        self._quiet.set()
        self.ended.set()

    async def _finish(self) -> None:
        """End everything within the grace, then what is left by force, then the watchdog."""
        try:
            with self._grace:
                await self._quiet.wait()
            for feed in tuple(self.feeds):
                feed.cancel()
            with anyio.move_on_after(2 * self.options.destroy_timeout):
                await self._quiet.wait()
            if not self._quiet.is_set():
                log.error("gave up on %d workers that do not end", len(self.hosts))
        finally:  # also when Ctrl-C ends every task: whoever shuts down waits for this
            self.watchdog.stop()
            self.ended.set()

    def check_quiet(self) -> None:
        """See whether, after the close, everything has ended but what others have to look at."""
        if self.is_closed and not self.hosts and all(feed.is_settled for feed in self.feeds):
            self._quiet.set()

    async def _shielded(self, function: Callable[..., Coroutine[Any, Any, object]], arguments: Iterable[Any]) -> None:
        own_home.set(self.home)
        try:
            with foreign_dropped(), anyio.CancelScope(shield=True):
                await function(*arguments)
        except (KeyboardInterrupt, SystemExit):
            self.interrupted()
            raise
