"""A cancellation of the pool's own, for which code of the user's raises one of somebody else's.

A library does that which waits for a task of its own, or swallows what it is told to end by. On asyncio the two look
the same; a cancel scope knows only its own, and lets the other pass. It must end no more than ours was to end.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from memory_acks import MemoryAcks, MemoryDelivery

from worker_pool import Failure, Settle, TaskAborted, TaskFinished, TaskStarted, TaskTimeout, WorkPool
from worker_pool.testing import FakeWorkers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),  # on trio nobody can raise one
    pytest.mark.fault(96),
    pytest.mark.usefixtures("no_leaks"),
]


async def hang(*_: Any) -> Any:
    """Wait to be cancelled, and raise another cancellation for that."""
    with suppress(asyncio.CancelledError):
        await anyio.sleep_forever()
    raise asyncio.CancelledError


class Later:
    """A worker whose answers come in a callback of the event loop."""

    batch = 8

    async def execute(self, x: Any) -> Any:
        return x

    def submit(self, inputs: list[Any], settle: Settle) -> None:
        asyncio.get_running_loop().call_soon(settle.many, [(i, x, None) for i, x in enumerate(inputs)])


def cancelled_after(count: int) -> Iterator[int]:
    """As a source that asks a task, or a future, which somebody has cancelled."""
    yield from range(count)
    raise asyncio.CancelledError


@pytest.mark.parametrize("worker", [FakeWorkers(), Later], ids=["execute", "submit"])
@pytest.mark.parametrize("count", [0, 3, 20])
async def test_a_plain_source_that_raises_one_has_raised_an_error(worker: Any, count: int) -> None:
    with anyio.fail_after(5):
        async with WorkPool(worker, max_size=1) as pool:
            with pytest.raises(RuntimeError, match="raised a cancellation of a task that is not ours") as caught:
                await pool.process(cancelled_after(count))
            assert isinstance(caught.value.__cause__, asyncio.CancelledError)
            seen: list[Any] = []
            with pytest.raises(RuntimeError, match="not ours"):
                async with pool.stream(cancelled_after(count)) as outcomes:
                    async for outcome in outcomes:
                        seen.append(outcome.unwrap())
            assert sorted(seen) == list(range(count))
            assert await pool.execute("b") == "b"
            statistics = pool.statistics()
    assert (statistics.succeeded, statistics.unfinished, statistics.started) == (2 * count + 1, 0, 1)


async def test_a_source_that_exits_at_once_ends_its_call_too() -> None:
    def leave() -> Iterator[int]:
        raise SystemExit(3)
        yield 1

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - alone, or in the group of the pool's tasks
        async with WorkPool(Later, max_size=1, min_size=1) as pool:
            await pool.execute(0)  # its worker is there, and idle: the call takes its first input at once
            await pool.process(leave())
    assert isinstance(caught.value, SystemExit)


async def test_an_input_that_takes_too_long_has_timed_out() -> None:
    async def execute(x: str) -> str:
        if x == "slow":
            await hang()
        return x

    with anyio.fail_after(5):
        async with WorkPool(lambda: execute, max_size=1, execute_timeout=0.1) as pool:
            with pytest.raises(TaskTimeout):
                await pool.execute("slow")
            assert await pool.execute("next") == "next"
            assert pool.statistics().started == 2


async def test_a_neighbour_of_one_that_takes_too_long_goes_on() -> None:
    begun, go = anyio.Event(), anyio.Event()

    async def execute(x: str) -> str:
        if x == "slow":
            await hang()
        begun.set()
        await go.wait()
        return x

    results: list[str] = []

    async def neighbour() -> None:
        results.append(await pool.execute("neighbour"))

    with anyio.fail_after(5):
        async with WorkPool(lambda: execute, max_size=1, concurrency=2) as pool, anyio.create_task_group() as group:
            group.start_soon(neighbour)
            await begun.wait()
            with anyio.move_on_after(0.01):
                await pool.execute("slow")
            go.set()
    assert results == ["neighbour"]


async def test_a_lease_that_could_not_be_renewed_in_time_is_renewed_again() -> None:
    class Slow(MemoryAcks):
        renewals = 0

        async def renew(self, deliveries: Any) -> Any:
            self.renewals += 1
            if self.renewals == 3:
                go.set()
            await hang()

    go, source = anyio.Event(), Slow(["a"], lease=0.03)
    source.close()

    async def execute(x: str) -> str:
        await go.wait()
        return x

    with anyio.fail_after(5):
        async with WorkPool(lambda: execute, max_size=1) as pool:
            assert (await pool.process(source)).succeeded == 1
            assert await pool.execute("b") == "b"


@pytest.mark.parametrize("verb", ["ack", "nack"])
async def test_a_delivery_that_could_not_be_settled_in_time_is_lost(verb: str) -> None:
    async def settle(delivery: MemoryDelivery, *_: Any) -> Any:
        delivery.source.held.discard(delivery)  # its lease is over
        return await hang()

    source = MemoryAcks(["a"])
    source.close()
    with anyio.fail_after(5), pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryDelivery, verb, settle)
        workers = FakeWorkers([ValueError() if verb == "nack" else "done"])
        async with WorkPool(workers, max_size=1, destroy_timeout=0.05) as pool:
            summary = await pool.process(source, on_failure=lambda failure: None)
            assert await pool.execute("b") == "b"
    assert (summary.succeeded, summary.lost) == (int(verb == "ack"), 1)


async def test_a_source_that_is_asked_when_its_call_ends() -> None:
    asked = anyio.Event()

    class Source:
        def __aiter__(self) -> AsyncIterator[Any]:
            return self

        async def __anext__(self) -> Any:
            asked.set()
            return await hang()

    with anyio.fail_after(5):
        async with WorkPool(FakeWorkers(), max_size=1) as pool:
            async with pool.stream(Source()):
                await asked.wait()
            assert await pool.execute("b") == "b"


async def test_a_generator_that_cannot_be_closed_in_time() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            await hang()

    with anyio.fail_after(5):
        async with WorkPool(FakeWorkers(), max_size=1, destroy_timeout=0.05) as pool:
            async with pool.stream(numbers()) as outcomes:
                assert (await anext(outcomes)).unwrap() == 0
            assert await pool.execute("b") == "b"


def raise_foreign(*_: Any) -> Any:
    """Ask a future that somebody has cancelled for its result."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    return future.result()


@pytest.mark.parametrize("worker", [FakeWorkers(), Later], ids=["execute", "submit"])
@pytest.mark.parametrize("kind", [TaskStarted, TaskFinished])
async def test_a_listener_that_raises_one_is_as_any_other_that_raises(
    worker: Any, kind: type, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(5):
        async with WorkPool(worker, max_size=1) as pool:
            pool.listen(lambda event: raise_foreign() if isinstance(event, kind) else None)
            assert await pool.execute(1) == 1
            async with pool.stream([2, 3]) as outcomes:
                assert [outcome.unwrap() async for outcome in outcomes] == [2, 3]
            assert pool.statistics().started == 1
    assert caplog.text.count("a listener raised") == 3


@pytest.mark.parametrize("what", ["active", "retire", "not_started"])
async def test_what_is_asked_of_a_worker_may_raise_one(what: str) -> None:
    class Asked:
        has_worked = False

        @property
        def active(self) -> Any:
            return raise_foreign() if self.has_worked and what == "active" else True

        def not_started(self, error: Exception) -> Any:
            return raise_foreign() if what == "not_started" else False

        async def execute(self, x: int) -> int:
            self.has_worked = True
            if x == 1 and what == "not_started":
                raise ValueError
            return x

    retire: Any = raise_foreign if what == "retire" else None
    with anyio.fail_after(5):
        async with WorkPool(Asked, max_size=1, retire=retire) as pool, pool.stream([1, 2, 3]) as outcomes:
            ended = [outcome async for outcome in outcomes]
    assert [outcome.input for outcome in ended] == [1, 2, 3]
    assert [isinstance(outcome, Failure) for outcome in ended] == [what == "not_started", False, False]


async def test_a_release_that_raises_one_costs_its_worker_and_no_neighbour() -> None:
    begun, go = anyio.Event(), anyio.Event()

    class Worker:
        async def execute(self, x: str) -> str:
            if x == "neighbour":
                begun.set()
                await go.wait()
            return x

        async def release(self) -> None:
            raise_foreign()

    results: list[str] = []

    async def neighbour() -> None:
        results.append(await pool.execute("neighbour"))

    with anyio.fail_after(5):
        async with WorkPool(Worker, max_size=1, concurrency=2) as pool, anyio.create_task_group() as group:
            group.start_soon(neighbour)
            await begun.wait()
            assert await pool.execute("first") == "first"
            go.set()
    assert results == ["neighbour"]


async def test_a_submit_that_raises_one_fails_its_inputs() -> None:
    class Submits(Later):
        def submit(self, inputs: list[Any], settle: Settle) -> None:
            if "bad" in inputs:
                raise_foreign()
            super().submit(inputs, settle)

    with anyio.fail_after(5):
        async with WorkPool(Submits, max_size=1) as pool:
            await pool.execute("good")  # it is idle: what is submitted next is so in the task of the call
            with pytest.raises(TaskAborted):
                await pool.execute("bad")
            assert await pool.execute("good") == "good"
            statistics = pool.statistics()
    assert (statistics.failed, statistics.unfinished, statistics.started) == (1, 0, 2)
