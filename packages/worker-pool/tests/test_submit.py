"""Workers with `submit`: every promise holds without a task per input."""

from __future__ import annotations

import itertools
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from cutting import cut

from worker_pool import Failure, NotStarted, Retry, Settle, Success, TaskTimeout, WorkerLost, WorkFailed, WorkPool
from worker_pool.testing import check_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio


class Clock:
    """What the lists go by. It stands still, but for what a test adds to it, until it is let `run`."""

    def __init__(self) -> None:
        self.now: float | None = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() if self.now is None else self.now

    def add(self, seconds: float) -> None:
        assert self.now is not None
        self.now += seconds

    def run(self) -> None:
        self.now = None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("worker_pool._port.perf_counter", clock)
    monkeypatch.setattr("worker_pool._watchdog.perf_counter", clock)
    return clock


class Immediate:
    """Settles before `submit` returns."""

    batch: int | None = None

    def __init__(self) -> None:
        self.lists: list[list[Any]] = []

    async def execute(self, x: Any) -> Any:
        return x

    def submit(self, inputs: list[Any], settle: Settle) -> None:
        self.lists.append(inputs)
        for i, x in enumerate(inputs):
            settle(i, Success(x, x))


class Manual:
    """Settles what the test says, when it says so."""

    def __init__(self, **attributes: Any) -> None:
        self.pending: deque[tuple[Any, int, Settle]] = deque()
        self.inputs: list[Any] = []
        self.lists: list[list[Any]] = []
        self.destroyed = False
        self.active = True
        self.on_destroy = True
        self.__dict__.update(attributes)

    async def execute(self, x: Any) -> Any:
        raise AssertionError("a pool uses submit")

    def submit(self, inputs: list[Any], settle: Settle) -> None:
        self.lists.append(inputs)
        for i, x in enumerate(inputs):
            self.inputs.append(x)
            self.pending.append((x, i, settle))

    def answer(self, outcome: Any = None) -> None:
        x, i, settle = self.pending.popleft()
        settle(i, Success(x, x) if outcome is None else outcome)

    async def destroy(self) -> None:
        self.destroyed = True
        if self.on_destroy:
            while self.pending:
                x, i, settle = self.pending.popleft()
                settle(i, NotStarted(x))


class ImmediateInLists(Immediate):
    batch = 4096


class Pooled:
    """Makes manual workers and remembers them."""

    def __init__(self, **attributes: Any) -> None:
        self.made: list[Manual] = []
        self.attributes = attributes

    def __call__(self) -> Manual:
        self.made.append(Manual(**self.attributes))
        return self.made[-1]


class Serial:
    """Runs inputs one after another, in a task of its own; an input is how long it takes."""

    batch = 64

    async def __aenter__(self) -> Serial:
        self.queue: deque[tuple[float, int, Settle]] = deque()
        self.most = self.held = 0
        self.wake = anyio.Event()
        self.group = anyio.create_task_group()
        await self.group.__aenter__()
        self.group.start_soon(self.run)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.group.cancel_scope.cancel()
        await self.group.__aexit__(None, None, None)
        while self.queue:
            x, i, settle = self.queue.popleft()
            settle(i, NotStarted(x))

    async def execute(self, x: float) -> float:
        return x

    def submit(self, inputs: list[float], settle: Settle) -> None:
        self.queue.extend((x, i, settle) for i, x in enumerate(inputs))
        self.held += len(inputs)
        self.most = max(self.most, self.held)
        self.wake.set()

    async def run(self) -> None:
        while True:
            await self.wake.wait()
            self.wake = anyio.Event()
            while self.queue:
                x, i, settle = self.queue.popleft()
                try:
                    if x:
                        await anyio.sleep(x)
                except BaseException:
                    settle(i, Failure(x, RuntimeError("ended while it ran")))
                    raise
                self.held -= 1
                settle(i, Success(x, x))


@pytest.mark.parametrize("batch", [None, 1, 64])
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_inputs_settled_at_once(batch: int | None, concurrency: int) -> None:
    class Worker(Immediate): ...

    Worker.batch = batch
    async with WorkPool(Worker, max_size=2, concurrency=concurrency) as pool:
        assert (await pool.process(range(1000))).succeeded == 1000
        assert await pool.execute("x") == "x"
        async with pool.stream(range(100), ordered=True) as outcomes:
            assert [outcome.input async for outcome in outcomes] == list(range(100))
        async with pool.stream(range(100), ordered=False) as outcomes:
            assert sorted([outcome.input async for outcome in outcomes]) == list(range(100))
    await check_worker(Worker, [1, 2, 3])


async def test_a_worker_that_settles_at_once_does_not_starve_others() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await anyio.lowlevel.checkpoint()

    async with WorkPool(Immediate, max_size=1) as pool, anyio.create_task_group() as group:
        group.start_soon(tick)
        await pool.process(range(10_000))
        group.cancel_scope.cancel()
    assert ticks > 50


@pytest.mark.parametrize("concurrency", [1, 5])
@pytest.mark.parametrize("batch", [None, 1])
async def test_a_worker_that_overlaps_is_kept_full_exactly(concurrency: int, batch: int | None) -> None:
    source = itertools.count()
    make = Pooled(overlaps=True, batch=batch)
    async with WorkPool(make, max_size=2, concurrency=concurrency, grace=0) as pool:
        async with pool.stream(source) as outcomes:
            await anyio.wait_all_tasks_blocked()
            assert next(source) == 2 * concurrency
            assert pool.statistics().running == 2 * concurrency
            make.made[0].answer()
            await anyio.wait_all_tasks_blocked()
            assert len(make.made[0].inputs) == concurrency + 1, "the next is there within settle"
            assert (await anext(outcomes)).input in range(2 * concurrency)


async def test_what_is_settled_together_is_replaced_together() -> None:
    make = Pooled(overlaps=True)
    async with WorkPool(make, max_size=1, concurrency=4) as pool, pool.stream(itertools.count()) as outcomes:
        await anyio.wait_all_tasks_blocked()
        worker = make.made[0]
        [(_, _, settle)] = {(0, 0, settle) for _, _, settle in worker.pending}
        settle.many([(2, "c", None), (0, None, ValueError()), (2, "again", None)])
        assert worker.lists == [[0, 1, 2, 3], [4, 5]]
        settle(3, NotStarted(3))
        assert worker.lists[2:] == [[3]], "what had not started is the next"
        settle.many([(1, "b", None)])
        assert worker.lists[3:] == [[6]]
        found = [await anext(outcomes) for _ in range(3)]
        assert [(one.input, type(one)) for one in found] == [(2, Success), (0, Failure), (1, Success)]
        assert pool.statistics().dropped == 1


async def test_the_next_list_comes_after_the_last_of_those_that_are_settled_together() -> None:
    make = Pooled(overlaps=True)
    async with WorkPool(make, max_size=1, concurrency=4) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.process, range(9))
        await anyio.wait_all_tasks_blocked()
        worker = make.made[0]
        first = worker.pending[0][2]
        first.many([(0, "a", None), (2, "c", None)])
        second = worker.pending[4][2]
        assert worker.lists == [[0, 1, 2, 3], [4, 5]]
        first.many([(1, "b", None), (3, "d", None)], more=True)
        assert len(worker.lists) == 2, "more was announced"
        second.many([(1, "f", None), (0, "e", None)])
        assert worker.lists[2:] == [[6, 7, 8]]
        worker.pending[-1][2].many([(i, None, None) for i in range(3)])
    assert pool.statistics().succeeded == 9


async def test_a_source_that_fails_in_the_middle_of_a_list_loses_nothing() -> None:
    def source() -> Iterator[int]:
        yield from range(10)
        raise LookupError("no more")

    seen: list[int] = []

    class Noting(Immediate):
        overlaps = True

        def submit(self, inputs: list[Any], settle: Settle) -> None:
            seen.extend(inputs)
            super().submit(inputs, settle)

    async with WorkPool(Noting, max_size=1, concurrency=64) as pool:
        with pytest.raises(LookupError):
            await pool.process(source())
        assert seen == list(range(10))
        assert pool.statistics().succeeded == 10


async def test_an_iterator_is_not_asked_again_after_its_end() -> None:
    class Once:
        def __init__(self, length: int) -> None:
            self.left = length

        def __iter__(self) -> Once:
            return self

        def __next__(self) -> int:
            assert self.left >= 0, "asked after StopIteration"
            self.left -= 1
            if self.left < 0:
                raise StopIteration
            return self.left

    class Worker(Immediate):
        overlaps = True

    async with WorkPool(Worker, max_size=2, concurrency=8) as pool:
        for length in (0, 1, 7, 8, 9, 100):
            assert (await pool.process(Once(length))).succeeded == length


async def test_a_source_may_close_the_pool_while_a_list_is_taken_from_it() -> None:
    make = Pooled(overlaps=True)
    summaries: list[Any] = []
    async with WorkPool(make, max_size=1, concurrency=8, grace=0) as pool, anyio.create_task_group() as group:

        def source() -> Iterator[int]:
            yield from range(10)
            pool.close()
            yield 10

        async def run() -> None:
            summaries.append(await pool.process(source()))

        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        worker = make.made[0]
        worker.pending[0][2].many([(i, None, None) for i in range(8)])
        worker.pending.clear()
        assert worker.inputs == list(range(8)), "of the second list, nothing was begun"
    assert [(one.succeeded, one.unfinished) for one in summaries] == [(8, 3)]


async def test_a_strict_worker_gets_the_next_input_within_settle() -> None:
    make = Pooled()
    async with WorkPool(make, max_size=1) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.process, "abc")
        await anyio.wait_all_tasks_blocked()
        worker = make.made[0]
        for expected in (["a"], ["a", "b"], ["a", "b", "c"]):
            assert worker.inputs == expected
            worker.answer()


async def test_lists_grow_while_inputs_are_quick_and_shrink_at_once(clock: Clock) -> None:
    make = Pooled(batch=64)
    async with WorkPool(make, max_size=1, concurrency=2) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.process, range(1000))
        await anyio.wait_all_tasks_blocked()
        worker = make.made[0]
        while len(worker.inputs) < 1000 or worker.pending:
            worker.answer()
        lengths = [len(one) for one in worker.lists]
        assert lengths[0] == 1
        assert all(after <= 2 * before for before, after in itertools.pairwise(lengths)), "slowly up"
        assert max(lengths) == 64
        assert worker.inputs == list(range(1000))
        group.start_soon(pool.process, range(1000, 1200))
        await anyio.wait_all_tasks_blocked()
        begun = len(worker.lists)
        while worker.pending:
            clock.add(0.01)
            worker.answer()
    assert [len(one) for one in worker.lists[begun:]] == [1] * (200 - 2 * 64), "at once down"


async def test_nothing_is_hoarded_by_workers_that_are_slow() -> None:
    """Greedy batching once ran these in 1.6 s."""
    made: list[Serial] = []

    def make() -> Serial:
        made.append(Serial())
        return made[-1]

    async with WorkPool(make, max_size=4, min_size=4, max_starting=4, concurrency=2) as pool:
        await anyio.wait_all_tasks_blocked()
        await pool.process([0.1] * 8)
        assert [worker.most for worker in made] == [1] * 4, "none waits behind another"
        assert (await pool.process([0] * 1000)).succeeded == 1000
        began = time.perf_counter()
        await pool.process([0.1] * 8)
        assert time.perf_counter() - began < 0.75, "after quick ones they begin in lists, and learn"


async def test_a_failure_is_an_outcome() -> None:
    make = Pooled()
    async with WorkPool(make, max_size=1) as pool, anyio.create_task_group() as group:

        async def ask() -> None:
            with pytest.raises(KeyError):
                await pool.execute("a")

        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        make.made[0].answer(Failure("a", KeyError()))


@pytest.mark.parametrize("how", ["inactive", "active"])
async def test_what_was_not_started_runs_elsewhere_and_first(how: str) -> None:
    make = Pooled(overlaps=True)
    async with WorkPool(make, max_size=1, concurrency=2) as pool, pool.stream("abcd") as outcomes:
        await anyio.wait_all_tasks_blocked()
        first = make.made[0]
        first.active = how == "active"
        first.answer()
        x, i, settle = first.pending.popleft()
        settle(i, NotStarted(x))
        for _ in range(10):
            await anyio.wait_all_tasks_blocked()
            for worker in make.made:
                while worker.pending:
                    worker.answer()
        seen = [outcome async for outcome in outcomes]
        assert sorted(outcome.input for outcome in seen) == list("abcd")
        assert all(outcome.attempts == 1 for outcome in seen)
        assert len(make.made) == (1 if how == "active" else 2)
        if how == "inactive":
            assert make.made[1].inputs[0] == "b"


@pytest.mark.fault(70)
async def test_a_second_word_about_an_input_is_counted_and_ignored() -> None:
    make = Pooled()
    async with WorkPool(make, max_size=1) as pool, pool.stream("ab") as outcomes:
        await anyio.wait_all_tasks_blocked()
        x, i, settle = make.made[0].pending[0]
        make.made[0].answer()
        settle(i, Failure(x, ValueError()))
        settle(i, Success(x, "again"))
        make.made[0].answer()
        assert [type(outcome) for outcome in [outcome async for outcome in outcomes]] == [Success, Success]
        assert pool.statistics().dropped == 2


async def test_the_death_of_a_worker_is_told_by_itself() -> None:
    make = Pooled(overlaps=True)
    async with WorkPool(make, max_size=1, concurrency=3) as pool, pool.stream("abc") as outcomes:
        await anyio.wait_all_tasks_blocked()
        first = make.made[0]
        first.active = False
        first.answer(Failure("a", ConnectionError("died")))
        first.answer(NotStarted("b"))
        first.answer(NotStarted("c"))
        await anyio.wait_all_tasks_blocked()
        assert first.destroyed
        make.made[1].answer()
        make.made[1].answer()
        seen = {outcome.input: type(outcome) async for outcome in outcomes}
        assert seen == {"a": Failure, "b": Success, "c": Success}


@pytest.mark.fault(38)
async def test_a_worker_that_ends_without_having_started_is_replaced_and_told_if_none_starts() -> None:
    error = ConnectionError("died")
    make = Pooled(overlaps=True)
    async with WorkPool(make, max_size=1, concurrency=2, max_start_failures=2) as pool, pool.stream("ab") as outcomes:
        for number in range(3):  # one that may be here, and two that start
            await anyio.wait_all_tasks_blocked()
            worker = make.made[number]
            assert worker.inputs == ["a", "b"]  # in their order
            for x, i, settle in (worker.pending.pop(), worker.pending.pop()):
                settle(i, NotStarted(x, error))
        seen = [outcome async for outcome in outcomes]
        assert sorted(outcome.input for outcome in seen) == ["a", "b"]
        for outcome in seen:
            assert isinstance(outcome, Failure)
            assert outcome.error is error
            assert outcome.attempts == 1
    assert len(make.made) == 3


async def test_what_a_worker_leaves_unsettled_fails_and_is_not_run_again() -> None:
    make = Pooled(overlaps=True, on_destroy=False)
    async with WorkPool(make, max_size=1, concurrency=2, execute_timeout=0.05) as pool:
        with pytest.raises(WorkFailed) as caught:
            await pool.process("ab")
    assert {type(error) for error in caught.value.exceptions} <= {TaskTimeout, WorkerLost}
    assert sum(len(worker.inputs) for worker in make.made) == 2


async def test_a_submit_that_raises_fails_its_inputs_and_costs_the_worker() -> None:
    class Broken(Manual):
        def submit(self, inputs: list[Any], settle: Settle) -> None:
            raise OSError("pipe")

    made: list[Manual] = []

    def make() -> Manual:
        made.append(Manual() if made else Broken())
        return made[-1]

    async with WorkPool(make, max_size=1) as pool, anyio.create_task_group() as group:
        with pytest.raises(OSError, match="pipe"):
            await pool.execute("a")
        group.start_soon(pool.execute, "b")
        await anyio.wait_all_tasks_blocked()
        made[1].answer()


# --- limits


async def test_a_timeout_of_one_that_overlaps_waits_for_its_neighbours() -> None:
    make = Pooled(overlaps=True)
    async with WorkPool(make, max_size=1, concurrency=2, execute_timeout=0.8) as pool:
        async with anyio.create_task_group() as group:

            async def late() -> None:
                with pytest.raises(TaskTimeout):
                    await pool.execute("late")

            group.start_soon(late)
            await anyio.wait_all_tasks_blocked()
            await anyio.sleep(0.3)
            group.start_soon(pool.execute, "neighbour")
            with anyio.fail_after(5):
                while not pool.statistics().failed:
                    await anyio.sleep(0.001)
            first = make.made[0]
            assert not first.destroyed, "its neighbour still runs"
            first.pending.popleft()
            first.answer()
            await anyio.wait_all_tasks_blocked()
            assert first.destroyed
        assert pool.statistics().succeeded == 1


async def test_a_timeout_of_the_first_in_line_moves_those_behind_it(clock: Clock) -> None:
    make = Pooled(batch=4)
    quick = itertools.repeat(0, 20)
    async with WorkPool(make, max_size=1, execute_timeout=0.8) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.process, quick)
        await anyio.wait_all_tasks_blocked()
        first = make.made[0]
        while len(first.inputs) < 20 or first.pending:
            first.answer()
        clock.run()
        async with pool.stream("abcd") as outcomes:
            await anyio.wait_all_tasks_blocked()
            assert len(first.pending) == 4, "one list of quick ones"
            first.pending.popleft()  # "a" runs, for ever: what destroy settles are the others
            with anyio.fail_after(5):
                while not first.destroyed:
                    await anyio.sleep(0.005)
            for _ in range(5):
                await anyio.wait_all_tasks_blocked()
                while make.made[-1].pending:
                    make.made[-1].answer()
            seen = {outcome.input: outcome async for outcome in outcomes}
        assert isinstance(seen["a"], Failure)
        assert all(isinstance(seen[x], Success) for x in "bcd")
        assert len(make.made) == 2


async def test_the_time_of_one_in_line_counts_from_the_end_of_the_one_before(clock: Clock) -> None:
    make = Pooled(batch=64)

    async def pass_time(seconds: float) -> None:
        clock.add(seconds)
        pool._engine.watchdog.expect(0.0)  # its sleep is by the real clock
        await anyio.wait_all_tasks_blocked()

    async with WorkPool(make, max_size=1, concurrency=2, execute_timeout=100) as pool:
        async with anyio.create_task_group() as group:
            group.start_soon(pool.process, range(100))
            await anyio.wait_all_tasks_blocked()
            worker = make.made[0]
            while worker.pending:
                worker.answer()
        async with pool.stream("abcdef") as outcomes:
            await anyio.wait_all_tasks_blocked()
            assert "".join(worker.inputs[100:]) == "abcdef", "lists are long now"
            for _ in range(5):
                await pass_time(99)
                worker.answer()
            await pass_time(101)
            seen = [type(outcome) async for outcome in outcomes]
        assert seen == [Success] * 5 + [Failure]


async def test_a_cancelled_call_lets_go_at_once_and_its_worker_is_replaced() -> None:
    make = Pooled(overlaps=True)
    async with WorkPool(make, max_size=1, concurrency=2) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.execute, "neighbour")
        await anyio.wait_all_tasks_blocked()
        await cut(pool.execute, "cut")
        first = make.made[0]
        assert not first.destroyed
        first.answer()
        await anyio.wait_all_tasks_blocked()
        assert first.destroyed
        group.start_soon(pool.execute, "next")
        await anyio.wait_all_tasks_blocked()
        make.made[1].answer()


@pytest.mark.fault(44)
@pytest.mark.fault(71)
async def test_a_worker_that_survives_keeps_its_place_taken_and_its_late_answer_is_dropped() -> None:
    make = Pooled(survives_cancel=True)
    async with WorkPool(make, max_size=1) as pool, anyio.create_task_group() as group:
        await cut(pool.execute, "cut")
        results: list[Any] = []

        async def ask() -> None:
            results.append(await pool.execute("next"))

        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        worker = make.made[0]
        assert worker.inputs == ["cut"]
        worker.answer(Success("cut", "late"))
        assert worker.inputs == ["cut", "next"]
        worker.answer(Success("next", "right"))
        await anyio.wait_all_tasks_blocked()
        assert results == ["right"]
        assert pool.statistics().dropped == 1
        assert len(make.made) == 1


async def test_what_is_given_up_is_waited_for_as_long_as_it_may_be(clock: Clock) -> None:
    make = Pooled(survives_cancel=True)
    async with WorkPool(make, max_size=1, destroy_timeout=10) as pool, anyio.create_task_group() as group:
        for patience in (9, 9):  # each its own time
            await cut(pool.execute, "cut")
            clock.add(patience)
            make.made[0].answer()
        group.start_soon(pool.execute, "next")
        await anyio.wait_all_tasks_blocked()
        make.made[0].answer()
        assert len(make.made) == 1
        clock.run()


async def test_retries_work_on_it_too() -> None:
    make = Pooled()
    async with WorkPool(make, max_size=1, retry=Retry(attempts=2, backoff=0)) as pool, pool.stream("a") as outcomes:
        await anyio.wait_all_tasks_blocked()
        make.made[0].answer(Failure("a", ValueError()))
        with anyio.fail_after(2):
            while not make.made[0].pending:
                await anyio.sleep(0.001)
        make.made[0].answer()
        assert (await anext(outcomes)).attempts == 2


async def test_shutdown_finishes_what_is_in_flight() -> None:
    make = Pooled(overlaps=True)
    async with WorkPool(make, max_size=1, concurrency=2) as pool, pool.stream("abcd") as outcomes:
        await anyio.wait_all_tasks_blocked()
        pool.close()
        make.made[0].answer()
        make.made[0].answer()
        assert [outcome.input async for outcome in outcomes] == ["a", "b"]


async def test_shutdown_gives_up_what_outlasts_the_grace() -> None:
    make = Pooled(overlaps=True, on_destroy=False)
    async with WorkPool(make, max_size=1, concurrency=2) as pool, anyio.create_task_group() as group:
        summaries: list[Any] = []

        async def run() -> None:
            summaries.append(await pool.process("abcd"))

        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(2):
            await pool.shutdown(grace=0.01)
        await anyio.wait_all_tasks_blocked()
        assert summaries[0].unfinished == 2
        assert make.made[0].destroyed


async def test_retire_is_asked_between_inputs() -> None:
    class Worker(Immediate): ...

    made: list[Worker] = []

    def make() -> Worker:
        made.append(Worker())
        return made[-1]

    async with WorkPool(make, max_size=2, retire=lambda worker: worker.tasks >= 10) as pool:
        assert (await pool.process(range(100))).succeeded == 100
    assert len(made) >= 9


async def test_work_that_comes_from_a_callback_is_handed_on() -> None:
    """All lanes of a port are busy when inputs are ready, however these come."""
    make = Pooled(overlaps=True)
    send, receive = anyio.create_memory_object_stream[int](100)
    async with WorkPool(make, max_size=2, min_size=2, concurrency=4) as pool, send, receive:
        async with anyio.create_task_group() as group:
            group.start_soon(pool.process, receive)
            await anyio.wait_all_tasks_blocked()
            for i in range(20):
                send.send_nowait(i)
            await anyio.wait_all_tasks_blocked()
            assert pool.statistics().running == 8
            send.close()
            for _ in range(20):
                await anyio.wait_all_tasks_blocked()
                for worker in make.made:
                    while worker.pending:
                        worker.answer()
        assert pool.statistics().succeeded == 20


@pytest.mark.fault("99f")
@pytest.mark.parametrize("ordered", [False, True])
async def test_lists_that_may_be_long_are_not_read_ahead_of_who_looks_at_outcomes(ordered: bool) -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for taken in itertools.count(1):
            yield taken

    worker = ImmediateInLists()
    async with WorkPool(lambda: worker, max_size=1) as pool, pool.stream(source, ordered=ordered) as outcomes:
        for _ in range(3):
            await anext(outcomes)
        await anyio.wait_all_tasks_blocked()
        assert taken <= 3 + 64
        for _ in range(10_000):
            await anext(outcomes)
    assert max(map(len, worker.lists)) > 64, "who keeps up is served in long lists"


async def test_what_is_told_of_an_input_that_is_given_up_may_end_its_neighbours() -> None:
    """With an `on_failure` that has the worker settle the rest of the same list."""
    handed: list[tuple[list[int], Settle]] = []

    class Worker:
        overlaps = survives_cancel = True
        batch = 4

        async def execute(self, x: int) -> int:
            return x

        def submit(self, inputs: list[int], settle: Settle) -> None:
            handed.append((inputs, settle))

    def answer_all(_: object) -> None:
        for inputs, settle in handed:
            for i, x in enumerate(inputs):
                settle(i, Success(x, x))

    with anyio.fail_after(5):
        async with WorkPool(Worker, max_size=1, execute_timeout=0.05) as pool:
            summary = await pool.process(range(4), on_failure=answer_all)
    assert (summary.succeeded, summary.failed, summary.unfinished) == (3, 1, 0)
