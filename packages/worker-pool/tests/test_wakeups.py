"""Whoever sleeps is woken by everything that may have changed what it waits for.

Each of these once slept for ever. None depends on who runs first.
"""

from __future__ import annotations

import itertools
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from memory_acks import MemoryAcks

from worker_pool import Retry, Success, WorkFailed, WorkPool
from worker_pool._watchdog import Watchdog
from worker_pool.testing import FakeWorkers, Hang

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker_pool import Settle

pytestmark = pytest.mark.anyio


async def test_a_source_that_ends_while_its_pump_looks_for_room_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane sees the end while the pump lets the others run once, before it goes to sleep for want of room."""
    go_on = anyio.Event()
    turns = 0

    class Ended:
        def receive_nowait(self) -> int:
            raise anyio.EndOfStream

        async def __anext__(self) -> int:
            raise AssertionError("there is no room for an input")

        def __aiter__(self) -> Ended:
            return self

    async def turn() -> None:
        """Let the others run: until the lane has ended its input and asked for the next."""
        nonlocal turns
        turns += 1
        go_on.set()
        await anyio.wait_all_tasks_blocked()

    monkeypatch.setattr("worker_pool._pump.checkpoint", turn)
    with anyio.fail_after(5):
        async with (
            WorkPool(FakeWorkers([Hang(go_on)]), max_size=1) as pool,
            anyio.create_task_group() as group,
        ):
            group.start_soon(pool.execute, "busy")
            await anyio.wait_all_tasks_blocked()
            assert (await pool.process(Ended())).succeeded == 0
    assert turns == 1


async def test_an_input_that_waited_for_its_retry_makes_room_when_it_succeeds() -> None:
    """One call competes with another that always has an input, so that no worker is ever idle."""
    failed: set[int] = set()
    is_over = False

    async def inputs() -> AsyncIterator[int]:
        for i in range(1, 9):
            yield i

    async def execute(x: int) -> None:
        await checkpoint()
        if x and x not in failed:
            failed.add(x)
            raise ValueError(x)

    def others() -> Any:
        while not is_over:
            yield 0

    async with (
        WorkPool(lambda: execute, max_size=1, retry=Retry(2, backoff=0.01, jitter=0)) as pool,
        anyio.create_task_group() as group,
    ):
        group.start_soon(pool.process, others())
        try:
            with anyio.fail_after(5):
                assert (await pool.process(inputs())).succeeded == 8
        finally:
            is_over = True


async def test_inputs_that_fail_after_their_retry_make_room_after_many_successes() -> None:
    def execute(x: int) -> int:
        if x in (20, 21):
            raise ValueError(x)
        return x

    with anyio.fail_after(5):
        async with WorkPool(
            FakeWorkers(itertools.repeat(execute, 100)), max_size=1, retry=Retry(2, backoff=0.01, jitter=0)
        ) as pool:
            with pytest.raises(WorkFailed) as caught:
                await pool.process(range(30))
    assert (caught.value.summary.succeeded, caught.value.summary.failed) == (28, 2)


async def test_an_input_that_is_withdrawn_while_a_worker_starts_leaves_its_place_to_another_call() -> None:
    """... even if that start fails: then no worker comes that would ask."""
    go_on = anyio.Event()
    starts = 0

    async def make() -> Any:
        nonlocal starts
        starts += 1
        if starts == 1:
            await go_on.wait()
            raise OSError("not this time")
        return FakeWorkers()()

    async def inputs() -> AsyncIterator[int]:
        yield 1

    scope = anyio.CancelScope()

    async def withdraw() -> None:
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        go_on.set()

    with anyio.fail_after(5):
        async with (
            WorkPool(make, max_size=1, start_backoff=0.01) as pool,
            anyio.create_task_group() as group,
            pool.stream(inputs()) as outcomes,  # it is asked, and has nothing yet ...
        ):
            group.start_soon(withdraw)
            with scope:
                await pool.execute(0)  # ... and before its pump has run, the place is taken
            assert [one.input async for one in outcomes] == [1]
    assert starts == 2


async def test_a_suspect_starts_when_what_ran_before_it_is_given_up() -> None:
    """The worker survives and still has the input: it will say nothing more that could wake anybody."""

    class Deaf:
        """Settles what it is told to, and nothing else."""

        survives_cancel = True

        async def execute(self, x: Any) -> Any:
            raise AssertionError("never called")

        def submit(self, inputs: list[Any], settle: Settle) -> None:
            given.extend(inputs)
            for i, x in enumerate(inputs):
                if x != "deaf":
                    settle(i, Success(x, x))

    given: list[Any] = []
    source = MemoryAcks(["suspect"])
    source.suspects.add("suspect")
    source.close()
    with anyio.fail_after(5):
        async with (
            WorkPool(Deaf, max_size=2, min_size=2) as pool,
            anyio.create_task_group() as group,
        ):
            scope = anyio.CancelScope()

            async def cut() -> None:
                with scope:
                    await pool.execute("deaf")

            await anyio.wait_all_tasks_blocked()
            group.start_soon(cut)
            await anyio.wait_all_tasks_blocked()
            summaries: list[Any] = []

            async def process() -> None:
                summaries.append(await pool.process(source))

            group.start_soon(process)
            await anyio.wait_all_tasks_blocked()
            assert given == ["deaf"], "it waits to be alone"
            scope.cancel()
            while not summaries:
                await checkpoint()
    assert given == ["deaf", "suspect"]


async def test_what_becomes_due_while_the_watchdog_looks_is_not_forgotten() -> None:
    """One that is asked first hears of its deadline from one that is asked later."""
    watchdog = Watchdog()

    class First:
        due = float("inf")
        is_over = anyio.Event()

        def check(self, now: float) -> float:
            if now < self.due:
                return self.due
            self.is_over.set()
            return float("inf")

    first = First()

    class Second:
        due = perf_counter() + 0.01

        def check(self, now: float) -> float:
            if now < self.due:
                return self.due
            if first.due == float("inf"):
                first.due = now + 0.01
                watchdog.expect(first.due)
            return float("inf")

    watchdog.watched = dict.fromkeys((first, Second()))  # type: ignore[assignment]
    async with anyio.create_task_group() as group:
        group.start_soon(watchdog.run)
        try:
            with anyio.fail_after(5):
                await first.is_over.wait()
        finally:
            group.cancel_scope.cancel()
