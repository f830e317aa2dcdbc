"""The sources in memory against models of a few lines: who gets what, whoever comes, waits, gives up or closes first.

Each step is taken on a real event loop (in a thread of its own), and then all tasks run until every one of them waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest
from anyio import from_thread, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from worker_sources import EventSource, IterableSource, QueueFull, QueueSource, SourceClosed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.timeout(300)  # for a failure: to find its shortest form takes a while

WHICH = st.integers(0, 3)


class Failed(Exception):
    pass


@dataclass(eq=False)
class Waiter:
    """A task in a call that may wait, and what came of it: its result, its error, or that it was cancelled."""

    value: int | None = None  # what it wants to put, if it does
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    outcome: object = None

    async def run(self, call: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        with self.scope:
            try:
                self.outcome = ("returned", await call(*arguments))
            except (anyio.EndOfStream, SourceClosed, Failed) as error:
                self.outcome = type(error)
        if self.outcome is None:
            self.outcome = "cancelled"


class Machine(RuleBasedStateMachine):
    """The consumers' side, which all have in common. `items` is the model's line; who waits is in `consumers`."""

    loop: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self._portal = from_thread.start_blocking_portal(self.loop)
        self.portal = self._portal.__enter__()
        self.source: Any = None
        self.items: deque[int] = deque()
        self.consumers: deque[Waiter] = deque()
        self.end: type[Exception] | None = None  # what consumers get when nothing is left
        self.last = 0

    def teardown(self) -> None:
        self.call(lambda: [waiter.scope.cancel() for waiter in self.waiters()])
        self._portal.__exit__(None, None, None)

    def waiters(self) -> list[Waiter]:
        return list(self.consumers)

    def new(self) -> int:
        self.last += 1
        return self.last

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call it on the event loop and let everybody run. Returns what it returned, or the type of its error."""

        async def body() -> Any:
            try:
                return function(*arguments)
            except (QueueFull, SourceClosed, anyio.WouldBlock, anyio.EndOfStream, Failed) as error:
                return type(error)
            finally:
                for _ in range(20):  # as a rule that is enough, and asyncio's form of the next line sleeps if it is not
                    await checkpoint()
                await wait_all_tasks_blocked()

        return self.portal.call(body)

    def begin(self, call: Callable[..., Awaitable[object]], *arguments: Any, value: int | None = None) -> Waiter:
        waiter: Waiter = self.call(Waiter, value)
        self.portal.start_task_soon(waiter.run, call, *arguments)
        self.call(lambda: None)
        return waiter

    def settle(self) -> None:
        """Give the items of the model to those who wait, and compare."""
        while self.items and self.consumers:
            assert self.consumers.popleft().outcome == ("returned", self.items.popleft())
        while self.end is not None and self.consumers:
            assert self.consumers.popleft().outcome == self.end

    @rule()
    def receive(self) -> None:
        self.consumers.append(self.begin(self.source.receive))
        self.settle()

    @rule()
    def receive_nowait(self) -> None:
        got = self.call(self.source.receive_nowait)
        assert got == (self.items.popleft() if self.items else self.end or anyio.WouldBlock)
        self.settle()

    @precondition(lambda self: self.consumers)
    @rule(which=WHICH)
    def consumer_gives_up(self, which: int) -> None:
        waiter = self.consumers[which % len(self.consumers)]
        self.consumers.remove(waiter)
        self.call(waiter.scope.cancel)
        assert waiter.outcome == "cancelled"

    def arrive_as_one_gives_up(self, add: Callable[[int], object], count: int, which: int) -> None:
        """`count` items come in the instant in which a consumer gives up. Its own is the next one's, or goes first."""
        values = [self.new() for _ in range(count)]
        waiting = list(self.consumers)
        quitter = waiting[which % len(waiting)]
        # The cancellation comes first, but its task has not run when it is served: afterwards it would come too late.
        self.call(lambda: (quitter.scope.cancel(), [add(value) for value in values]))
        if quitter.outcome != "cancelled":
            self.items += values
            self.settle()
            assert quitter not in self.consumers
            return
        served = waiting[:count]
        self.consumers.remove(quitter)
        for waiter, value in zip(waiting, values, strict=False):
            if waiter is not quitter:
                assert waiter.outcome == ("returned", value)
                self.consumers.remove(waiter)
        if quitter in served:
            self.items.append(values[served.index(quitter)])
        self.items += values[len(waiting) :]
        self.settle()

    @invariant()
    def whoever_can_be_served_was(self) -> None:
        assert [waiter.outcome for waiter in self.waiters()] == [None] * len(self.waiters())


class InMemory(Machine):
    """Those that are closed by hand."""

    @precondition(lambda self: self.last > 6)  # or most of what is tried would be tried on a closed source
    @rule()
    def close(self) -> None:
        self.call(self.source.close)
        self.end = anyio.EndOfStream
        self.settle()

    @invariant()
    def it_knows_how_many_wait(self) -> None:
        assert self.source is None or len(self.source) == len(self.items)


class Queue(InMemory):
    places: int
    producers: deque[Waiter]

    @initialize(places=st.sampled_from([0, 1, 2, 3]))
    def make(self, places: int) -> None:
        self.places = places
        self.source = self.call(QueueSource, places)
        self.producers: deque[Waiter] = deque()

    def waiters(self) -> list[Waiter]:
        return [*self.consumers, *getattr(self, "producers", ())]

    def is_full(self) -> bool:
        return 0 < self.places <= len(self.items)

    def settle(self) -> None:
        super().settle()
        while self.producers and (self.end is not None or not self.is_full()):
            producer = self.producers.popleft()
            if self.end is not None:
                assert producer.outcome == SourceClosed
                continue
            assert producer.outcome == ("returned", None)
            assert producer.value is not None
            self.items.append(producer.value)
            super().settle()

    @rule()
    def put_nowait(self) -> None:
        value = self.new()
        told = self.call(self.source.put_nowait, value)
        if self.end is not None:
            assert told == SourceClosed
        elif self.is_full():
            assert told == QueueFull
        else:
            assert told is None
            self.items.append(value)
        self.settle()

    @rule(count=st.integers(1, 4))
    def put(self, count: int) -> None:
        for _ in range(count):  # often more than there is room for
            value = self.new()
            self.producers.append(self.begin(self.source.put, value, value=value))
            self.settle()

    @precondition(lambda self: self.producers)
    @rule(which=WHICH)
    def producer_gives_up(self, which: int) -> None:
        waiter = self.producers[which % len(self.producers)]
        self.producers.remove(waiter)
        self.call(waiter.scope.cancel)
        assert waiter.outcome == "cancelled"

    @precondition(lambda self: self.producers)
    @rule()
    def room_comes_as_the_producer_gives_up(self) -> None:
        """It has put its item, or it has not and the next in line has the place: no place is lost."""
        waiter, first = self.producers.popleft(), self.items.popleft()
        got: list[object] = []
        self.call(lambda: (waiter.scope.cancel(), got.append(self.source.receive_nowait())))
        assert got == [first]
        if waiter.outcome == "cancelled":
            self.settle()
        else:
            self.producers.appendleft(waiter)
            self.settle()
            assert waiter not in self.producers

    @precondition(lambda self: self.producers)
    @rule(count=st.integers(1, 3), waits=st.booleans())
    def room_comes_as_another_puts(self, count: int, waits: bool) -> None:
        """It is after those who were blocked, also while they have a place and have not run."""
        count, value = min(count, len(self.items)), self.new()
        taken: list[object] = []

        async def put_at_once() -> None:
            taken.extend(self.source.receive_nowait() for _ in range(count))
            if waits:
                await self.source.put(value)
            else:
                with pytest.raises(QueueFull):
                    self.source.put_nowait(value)

        waiter = self.begin(put_at_once, value=value)
        assert taken == [self.items.popleft() for _ in range(count)]
        if waits:
            self.producers.append(waiter)
        else:
            assert waiter.outcome == ("returned", None)
        self.settle()

    @precondition(lambda self: self.consumers and self.end is None)
    @rule(count=st.integers(1, 3), which=WHICH)
    def items_come_as_a_consumer_gives_up(self, count: int, which: int) -> None:
        room = len(self.consumers) + (self.places or count)
        self.arrive_as_one_gives_up(self.source.put_nowait, min(count, room), which)


class Events(InMemory):
    pending: int
    drops: bool

    @initialize(pending=st.integers(1, 3), drops=st.booleans())
    def make(self, pending: int, drops: bool) -> None:
        self.pending, self.drops = pending, drops
        make = EventSource[int]
        self.source = self.call(lambda: make(max_pending=pending, overflow="drop_oldest" if drops else "error"))

    @rule(immediate=st.booleans(), own_thread=st.booleans())
    def trigger(self, immediate: bool, own_thread: bool) -> None:
        value = self.new()
        if own_thread:
            told = self.call(self.source.trigger, value, immediate)
        else:
            try:
                told = self.source.trigger_threadsafe(value, immediate)
            except (SourceClosed, QueueFull) as error:
                told = type(error)
            self.call(lambda: None)
        if self.end is not None:
            assert told == SourceClosed
        elif len(self.items) >= self.pending and not self.drops:
            assert told == QueueFull
        else:
            assert told is None
            if len(self.items) >= self.pending:
                self.items.popleft()
            self.items.insert(0 if immediate else len(self.items), value)
        self.settle()

    @precondition(lambda self: self.consumers and self.end is None)
    @rule(count=st.integers(1, 3), which=WHICH)
    def items_come_as_a_consumer_gives_up(self, count: int, which: int) -> None:
        self.arrive_as_one_gives_up(self.source.trigger, min(count, len(self.consumers) + self.pending), which)


class Generated(Machine):
    """An async generator that waits for what `arrives`, shared inside `async with`."""

    feed: Any
    arrivals: Any
    left: Any
    owner: Waiter

    @initialize()
    def make(self) -> None:
        async def enter() -> None:
            self.feed, self.arrivals = anyio.create_memory_object_stream[object](1000)
            self.source = IterableSource(self.generate)
            self.left = anyio.Event()

        async def own() -> None:
            async with self.source:
                await self.left.wait()

        self.portal.call(enter)
        self.owner = self.begin(own)

    async def generate(self) -> AsyncIterator[int]:
        async for arrived in self.arrivals:
            if arrived is Failed:
                raise Failed
            yield arrived

    def teardown(self) -> None:
        if self.source is not None:
            self.call(lambda: (self.left.set(), self.feed.close(), self.arrivals.close()))
            assert self.owner.outcome == ("returned", None)
        super().teardown()

    @precondition(lambda self: self.end is None)
    @rule(count=st.integers(1, 3))
    def arrive(self, count: int) -> None:
        values = [self.new() for _ in range(count)]
        self.call(lambda: [self.feed.send_nowait(value) for value in values])
        self.items += values
        self.settle()

    @precondition(lambda self: self.end is None)
    @rule(fails=st.booleans())
    def finish(self, fails: bool) -> None:
        self.call(lambda: self.feed.send_nowait(Failed) if fails else self.feed.close())
        self.end = Failed if fails else anyio.EndOfStream
        self.settle()

    def receive_nowait(self) -> None:
        """Nothing is read ahead, so there is nothing to take without waiting: no rule."""

    @precondition(lambda self: self.consumers and self.end is None)
    @rule(which=WHICH)
    def one_comes_as_a_consumer_gives_up(self, which: int) -> None:
        self.arrive_as_one_gives_up(self.feed.send_nowait, 1, which)


def case_of(machine: type[Machine], loop: str) -> Any:
    case = type(machine.__name__, (machine,), {"loop": loop}).TestCase  # type: ignore[attr-defined]
    case.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
    return case


TestQueueOnAsyncio, TestQueueOnTrio = case_of(Queue, "asyncio"), case_of(Queue, "trio")
TestEventsOnAsyncio, TestEventsOnTrio = case_of(Events, "asyncio"), case_of(Events, "trio")
TestGeneratedOnAsyncio, TestGeneratedOnTrio = case_of(Generated, "asyncio"), case_of(Generated, "trio")
