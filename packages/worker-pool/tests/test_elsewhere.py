"""A pool belongs to one event loop: who uses it from elsewhere is told so at once, and never waits for nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after, from_thread, to_thread

from worker_pool import PoolClosed, WorkPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.fault(86)

Pool = WorkPool[int, int]


async def double(number: int) -> int:
    return 2 * number


def make_pool() -> Pool:
    return WorkPool(lambda: double, max_size=2)


async def stream(pool: Pool) -> None:
    async with pool.stream([1, 2]) as outcomes:
        await anext(outcomes)


async def close(pool: Pool) -> None:
    pool.close()


CALLS: dict[str, Callable[[Pool], Awaitable[object]]] = {
    "execute": lambda pool: pool.execute(1),
    "process": lambda pool: pool.process([1, 2]),
    "stream": stream,
    "shutdown": lambda pool: pool.shutdown(),
    "close": close,
}

other_loop = pytest.mark.parametrize("other", ["asyncio", "trio"])
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


async def refused(call: Callable[[Pool], Awaitable[object]], pool: Pool) -> None:
    """The limit makes a hang fail."""
    with fail_after(5), pytest.raises(RuntimeError, match="make one pool for each loop, or call it on its own"):
        await call(pool)


@pytest.mark.anyio
@other_loop
@each_call
async def test_a_pool_refuses_another_loop_that_runs_at_the_same_time(
    call: Callable[[Pool], Awaitable[object]], other: str
) -> None:
    async with make_pool() as pool:
        await pool.execute(1)
        await to_thread.run_sync(partial(anyio.run, refused, call, pool, backend=other))
        assert await pool.execute(21) == 42
        assert pool.statistics().succeeded == 2


@pytest.mark.anyio
@other_loop
async def test_the_outcomes_of_a_stream_are_not_for_another_loop(other: str) -> None:
    gate = anyio.Event()

    async def wait(number: int) -> int:
        await gate.wait()
        return number

    async with WorkPool(lambda: wait) as pool, pool.stream([1]) as outcomes:
        await to_thread.run_sync(partial(anyio.run, refused, lambda _: anext(outcomes), pool, backend=other))
        gate.set()
        assert [outcome.input async for outcome in outcomes] == [1]


@pytest.mark.anyio
@each_call
async def test_a_thread_without_a_loop_is_told_how_to_call(call: Callable[[Any], Any]) -> None:
    async with make_pool() as pool:

        def first_step() -> None:
            with pytest.raises(RuntimeError, match=r"anyio\.from_thread"):
                call(pool).send(None)

        await to_thread.run_sync(first_step)


@pytest.mark.anyio
async def test_a_thread_may_call_the_way_that_it_is_told() -> None:
    async with make_pool() as pool, from_thread.BlockingPortal() as portal:
        assert await to_thread.run_sync(lambda: from_thread.run(pool.execute, 1)) == 2
        assert await to_thread.run_sync(lambda: portal.call(pool.execute, 2)) == 4


def test_after_its_run_a_pool_is_closed(anyio_backend_name: str) -> None:
    pool = make_pool()

    async def first() -> None:
        async with pool:
            await pool.process([1, 2])

    async def second() -> None:
        with fail_after(5):
            for late in (pool.execute(1), pool.process([1]), stream(pool)):
                with pytest.raises(PoolClosed):
                    await late
            await pool.shutdown()
            pool.close()

    anyio.run(first, backend=anyio_backend_name)
    anyio.run(second, backend=anyio_backend_name)


@each_call
def test_a_pool_whose_block_was_not_left_ends_with_its_run(call: Callable[[Pool], Awaitable[object]]) -> None:
    """Only asyncio lets a run end like that: trio finds the block still open, and raises by itself."""
    pool = make_pool()

    async def first() -> None:
        await pool.__aenter__()
        assert await pool.execute(1) == 2

    asyncio.run(first())
    asyncio.run(refused(call, pool))


@each_call
def test_a_loop_that_stands_still_is_not_the_loop_that_runs(call: Callable[[Pool], Awaitable[object]]) -> None:
    pool = make_pool()
    resume = asyncio.Event()

    async def hold() -> None:
        async with pool:
            await resume.wait()
            assert await pool.execute(1) == 2

    loop = asyncio.new_event_loop()
    try:
        holding = loop.create_task(hold())
        loop.run_until_complete(asyncio.sleep(0))  # one turn: the pool was entered
        asyncio.run(refused(call, pool))
        resume.set()
        loop.run_until_complete(holding)
    finally:
        loop.close()
