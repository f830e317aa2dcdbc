"""Cancelled at every suspension point, and at random, on both loops: nothing lost, nothing double, nothing left."""

from __future__ import annotations

import contextlib
import itertools
import random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from worker_pool import NotStarted, Settle, Success, WorkPool
from worker_testkit import Cut, sweep_cancellation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.fault(96), pytest.mark.usefixtures("no_leaks")]


class Ledger:
    """Workers that suspend in every hook, and count: what began has ended, who was made was destroyed."""

    def __init__(self) -> None:
        self.living = self.made = self.running = 0

    async def execute(self, x: Any) -> Any:
        self.running += 1
        try:
            await checkpoint()
            await checkpoint()
            return x
        finally:
            self.running -= 1

    def worker(self) -> Any:
        return _Counted(self)


class _Counted:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.execute = ledger.execute

    async def init(self) -> None:
        self.ledger.living += 1
        self.ledger.made += 1
        await checkpoint()

    async def release(self) -> None:
        await checkpoint()

    async def destroy(self) -> None:
        await checkpoint()
        self.ledger.living -= 1


class _Submits(_Counted):
    """Settles each input after a while, in a task of its own."""

    overlaps = True

    async def init(self) -> None:
        await super().init()
        self.pending: list[tuple[Any, int, Settle]] = []
        self.group = anyio.create_task_group()
        await self.group.__aenter__()

    def submit(self, inputs: list[Any], settle: Settle) -> None:
        for i, x in enumerate(inputs):
            self.pending.append((x, i, settle))
            self.group.start_soon(self.answer)

    async def answer(self) -> None:
        await checkpoint()
        if self.pending:
            x, i, settle = self.pending.pop(0)
            settle(i, Success(x, x))

    async def destroy(self) -> None:
        self.group.cancel_scope.cancel()
        await self.group.__aexit__(None, None, None)
        while self.pending:
            x, i, settle = self.pending.pop()
            settle(i, NotStarted(x))
        await super().destroy()


async def numbers() -> AsyncIterator[int]:
    for i in range(4):
        await checkpoint()
        yield i


async def run_process(pool: WorkPool[Any, Any]) -> Any:
    return await pool.process(range(4))


async def run_async_process(pool: WorkPool[Any, Any]) -> Any:
    return await pool.process(numbers)


async def run_execute(pool: WorkPool[Any, Any]) -> Any:
    return await pool.execute(1)


async def run_stream(pool: WorkPool[Any, Any]) -> Any:
    async with pool.stream(range(4), ordered=True) as outcomes:
        return [outcome.input async for outcome in outcomes]


async def run_async_stream(pool: WorkPool[Any, Any]) -> Any:
    async with pool.stream(numbers) as outcomes:
        return [outcome.input async for outcome in outcomes]


RUNS = [run_process, run_async_process, run_execute, run_stream, run_async_stream]


@pytest.mark.parametrize("kind", ["execute", "submit"])
@pytest.mark.parametrize("run", RUNS)
async def test_a_call_cancelled_anywhere_leaves_a_pool_that_works(
    run: Callable[[WorkPool[Any, Any]], Awaitable[Any]], kind: str
) -> None:
    ledger = Ledger()

    def make() -> Any:
        return _Submits(ledger) if kind == "submit" else _Counted(ledger)

    async with WorkPool(make, max_size=2, destroy_timeout=1) as pool:

        async def check(cut: Cut[Any]) -> None:
            statistics = pool.statistics()
            assert ledger.running == 0
            assert statistics.running == statistics.waiting == 0
            async with anyio.create_task_group() as group:
                for i in range(2):
                    group.start_soon(pool.execute, i)
            assert pool.statistics().alive + pool.statistics().leaving <= 2

        cuts = await sweep_cancellation(lambda: run(pool), check=check)
        assert len(cuts) >= 4
        assert cuts[-1].finished
    assert ledger.living == 0


@pytest.mark.parametrize("run", RUNS)
async def test_a_whole_pool_cancelled_anywhere_ends_its_workers(
    run: Callable[[WorkPool[Any, Any]], Awaitable[Any]],
) -> None:
    ledger = Ledger()

    async def body() -> Any:
        async with WorkPool(ledger.worker, min_size=1, max_size=2, destroy_timeout=1) as pool:
            return await run(pool)

    async def check(cut: Cut[Any]) -> None:
        assert ledger.living == ledger.running == 0

    cuts = await sweep_cancellation(body, check=check)
    assert cuts[-1].finished


@pytest.mark.stress
@pytest.mark.parametrize("how", ["result", "timeout", "cancel"])
async def test_the_ends_of_an_input_race(how: str, seed: int, rounds: Callable[[int], int]) -> None:
    """Result, timeout, cancellation and shutdown of the same inputs at about the same time: one end for each."""
    ledger = Ledger()
    generator = random.Random(seed)

    async def execute(x: int) -> int:
        for _ in range(x % 7):
            await checkpoint()
        return x

    for _ in range(rounds(30)):
        ends = 0
        begun = 0

        async def ask(pool: WorkPool[int, int], x: int) -> None:
            nonlocal ends, begun
            begun += 1
            try:
                with anyio.CancelScope() as scope:
                    if how == "cancel":
                        scope.deadline = anyio.current_time() + generator.random() / 1000
                    await pool.execute(x)
            except Exception:
                pass
            ends += 1

        timeout = 0.0005 if how == "timeout" else None
        async with WorkPool(lambda: execute, max_size=3, execute_timeout=timeout) as pool:
            async with anyio.create_task_group() as group:
                for i in range(20):
                    group.start_soon(ask, pool, i)
                for _ in range(generator.randrange(8)):
                    await checkpoint()
                if generator.random() < 0.5:
                    pool.close(0.001)
            statistics = pool.statistics()
            assert ends == begun == 20
            assert statistics.running == statistics.waiting == 0
    assert ledger.running == 0


@pytest.mark.stress
@pytest.mark.fault(97)
async def test_an_input_handed_to_a_lane_that_is_cut_in_that_instant_is_run_elsewhere_or_ended() -> None:
    """A memory stream gives one in the tick in which its consumer is cancelled."""
    for delay in range(6):
        send, receive = anyio.create_memory_object_stream[int](1)
        seen: list[int] = []

        async def execute(x: int, seen: list[int] = seen) -> None:
            seen.append(x)

        async with WorkPool(lambda: execute, max_size=1) as pool, send, receive:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(pool.process, receive)
                    for _ in range(5):
                        await checkpoint()
                    send.send_nowait(1)
                    for _ in range(delay):
                        await checkpoint()
                    scope.cancel()
            left = []
            with pytest.raises(anyio.WouldBlock):
                while True:
                    left.append(receive.receive_nowait())
            unfinished = pool.statistics().unfinished
            assert len(seen) + len(left) + unfinished >= 1, "it has not vanished without a word"


@pytest.mark.stress
async def test_a_stormy_day_balances(seed: int) -> None:
    """The ledger of a soak test, in short: what came in is what came out."""
    generator = random.Random(seed)
    counter = itertools.count()

    async def execute(x: int) -> int:
        for _ in range(generator.randrange(3)):
            await checkpoint()
        if x % 11 == 0:
            raise ValueError(x)
        return x

    async with WorkPool(
        lambda: execute, max_size=4, concurrency=2, retire=lambda worker: worker.tasks > generator.randrange(1, 20)
    ) as pool:
        async with anyio.create_task_group() as group:

            async def user() -> None:
                for _ in range(20):
                    kind = generator.randrange(3)
                    with anyio.CancelScope() as scope:
                        if generator.random() < 0.3:
                            scope.deadline = anyio.current_time() + generator.random() / 500
                        inputs = [next(counter) for _ in range(generator.randrange(10))]
                        if kind == 0:
                            await pool.process(inputs, on_failure=lambda _: None)
                        elif kind == 1:
                            async with pool.stream(inputs, ordered=True) as outcomes:
                                seen = [outcome.input async for outcome in outcomes]
                            assert seen == inputs
                        else:
                            for x in inputs:
                                with contextlib.suppress(ValueError):
                                    await pool.execute(x)

            for _ in range(6):
                group.start_soon(user)
        statistics = pool.statistics()
        assert statistics.running == statistics.waiting == 0
        assert 0 < statistics.succeeded + statistics.failed + statistics.unfinished <= next(counter)
        assert await pool.execute(1) == 1
