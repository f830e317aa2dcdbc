"""A worker whose start fails or is cancelled, with something open that only its `destroy` closes."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from worker_pool import PoolBroken, WorkPool
from worker_pool.testing import FakeWorker

pytestmark = pytest.mark.anyio


class Reader:
    """Its `init` opens a task group, as by entering a channel, which its `destroy` closes and waits for."""

    starts = 0
    ends = 0

    async def init(self) -> None:
        Reader.starts += 1
        self.group = anyio.create_task_group()
        await self.group.__aenter__()
        self.group.start_soon(anyio.sleep_forever)
        if Reader.starts == 1:
            await self.shake_hands()

    async def shake_hands(self) -> None:
        await anyio.sleep_forever()

    async def execute(self, x: str) -> str:
        return x

    async def destroy(self) -> None:
        self.group.cancel_scope.cancel()
        await self.group.__aexit__(None, None, None)
        for _ in range(3):  # it has time
            await anyio.lowlevel.checkpoint()
        Reader.ends += 1


class Refused(Reader):
    async def shake_hands(self) -> None:
        raise OSError("refused")


@pytest.fixture
def no_readers() -> None:
    Reader.starts = Reader.ends = 0


@pytest.mark.stress
@pytest.mark.parametrize("make", [Reader, Refused])
async def test_an_init_that_fails_may_leave_a_scope_open_for_destroy(make: Any, no_readers: None) -> None:
    with anyio.fail_after(5) as scope:
        async with WorkPool(make, max_size=1, init_timeout=0.5, start_backoff=0) as pool:
            assert await pool.execute("a") == "a"
    assert not scope.cancel_called
    assert (Reader.starts, Reader.ends) == (2, 2)


@pytest.mark.stress
async def test_a_pool_that_closes_while_an_init_has_a_scope_open_ends_in_order(no_readers: None) -> None:
    with anyio.fail_after(5) as scope:
        async with WorkPool(Reader, max_size=1, min_size=1):
            await anyio.wait_all_tasks_blocked()
    assert not scope.cancel_called
    assert (Reader.starts, Reader.ends) == (1, 1)


async def test_a_failed_init_is_told_although_destroy_hangs() -> None:
    class Hanging(FakeWorker):
        async def init(self) -> None:
            raise OSError("refused")

        async def destroy(self) -> None:
            await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with WorkPool(Hanging, max_start_failures=1, destroy_timeout=0.05) as pool:
            with pytest.raises(PoolBroken, match="refused"):
                await pool.execute("a")
