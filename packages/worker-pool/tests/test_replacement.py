"""Workers that are replaced while inputs come: the call goes on, and no answer of a worker's hook loses one."""

from __future__ import annotations

import gc
import logging
import weakref
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from worker_pool import Success, WorkFailed, WorkPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from worker_pool import Settle

pytestmark = pytest.mark.anyio


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


class Tiring:
    """Is not active any more after some inputs; with more than one at a time, all its slots go at once."""

    active = True

    async def execute(self, x: int) -> int:
        await anyio.sleep(0.001)
        if x % 5 == 4:
            self.active = False
            raise ValueError(x)
        return x


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("concurrency", [1, 2, 3])
async def test_an_async_source_is_asked_again_when_all_workers_were_replaced(size: int, concurrency: int) -> None:
    with anyio.fail_after(20):
        async with WorkPool(Tiring, max_size=size, concurrency=concurrency) as pool:
            summary = await pool.process(numbers(100), on_failure=lambda failure: None)
    assert (summary.succeeded, summary.failed) == (80, 20)


@pytest.mark.parametrize("size", [1, 4])
async def test_an_async_source_is_asked_again_when_all_workers_were_retired(size: int) -> None:
    async def execute(x: int) -> int:
        await anyio.sleep(0.001)
        return x

    with anyio.fail_after(20):
        async with WorkPool(lambda: execute, max_size=size, concurrency=2, retire=lambda w: w.tasks >= 10) as pool:
            assert (await pool.process(numbers(200))).succeeded == 200


@pytest.mark.fault(91)
@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_worker_that_is_gone_is_not_kept_by_the_one_in_its_place(concurrency: int) -> None:
    """Every worker was made in the context of the one before, and so kept all that were before it."""
    made: list[weakref.ref[OneShot]] = []

    class OneShot:
        context: Context  # as a channel keeps it for its callbacks, and an event loop for its timers

        def __init__(self) -> None:
            made.append(weakref.ref(self))
            self.context = copy_context()

        async def execute(self, x: int) -> None: ...

    async with WorkPool(OneShot, max_size=1, concurrency=concurrency, retire=lambda worker: True) as pool:
        assert (await pool.process(range(20))).succeeded == 20
        gc.collect()
        assert len(made) >= 10
        assert sum(ref() is not None for ref in made) <= 2, "the last one, and the one in its place"


async def test_every_worker_starts_with_the_context_variables_of_the_block_that_opened_the_pool() -> None:
    where = ContextVar("where", default="nowhere")

    def make() -> Any:
        found = where.get()

        async def execute(x: int) -> str:
            return found

        return execute

    where.set("pool")
    async with WorkPool(make, max_size=1, retire=lambda worker: True) as pool:
        where.set("call")
        assert [await pool.execute(x) for x in range(3)] == ["pool"] * 3


def fails(error: Exception) -> bool:
    raise RuntimeError("the hook")


async def is_async(error: Exception) -> bool:
    return True


@pytest.mark.parametrize("hook", [fails, is_async])
async def test_a_worker_that_cannot_say_whether_it_began_has_begun(hook: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Unsure:
        runs = 0
        not_started = staticmethod(hook)

        async def execute(self, x: int) -> int:
            Unsure.runs += 1
            raise ValueError(x)

    caplog.set_level(logging.ERROR, "worker_pool")
    with anyio.fail_after(5):
        async with WorkPool(Unsure, max_size=1) as pool:
            with pytest.raises(WorkFailed) as caught:
                await pool.process([1])
    assert [repr(error) for error in caught.value.exceptions] == ["ValueError(1)"]
    assert Unsure.runs == 1
    assert "not_started of worker 1 raised" in caplog.messages


@pytest.mark.parametrize("submits", [False, True])
async def test_a_worker_that_cannot_say_whether_it_is_active_is_replaced(
    submits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Unsure:
        made = 0
        asked = 0

        def __init__(self) -> None:
            Unsure.made += 1

        @property
        def active(self) -> bool:
            Unsure.asked += 1
            if Unsure.asked == 4:
                raise RuntimeError("the hook")
            return True

        async def execute(self, x: int) -> int:
            return x

    class Submits(Unsure):
        def submit(self, inputs: Sequence[int], settle: Settle) -> None:
            for i, x in enumerate(inputs):
                settle(i, Success(x, x))

    caplog.set_level(logging.ERROR, "worker_pool")
    with anyio.fail_after(5):
        async with WorkPool[int, int](Submits if submits else Unsure, max_size=1) as pool:
            for number in range(10):
                assert await pool.execute(number) == number
    assert Unsure.made == 2
    assert "active of worker 1 raised" in caplog.messages


async def test_a_task_that_outlived_its_input_is_not_taken_for_part_of_the_next_one() -> None:
    linked: list[str] = []
    let_go = anyio.Event()

    async with anyio.create_task_group() as group:

        async def follow() -> None:
            await let_go.wait()
            linked.append(await pool.execute("link"))

        async def crawl(x: str) -> str:
            if x == "page":
                group.start_soon(follow)
            elif x == "slow":
                let_go.set()
                await anyio.sleep(0.05)  # meanwhile the other asks, and has to wait for us
            return x

        with anyio.fail_after(5):
            async with WorkPool(lambda: crawl, max_size=1) as pool:
                assert await pool.execute("page") == "page"
                assert await pool.execute("slow") == "slow"
                while not linked:
                    await anyio.lowlevel.checkpoint()
    assert linked == ["link"]
