"""I. Cancellation at every suspension point of the whole stack: afterwards nothing is left, and all still works."""

from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from stacks import STACKS, make

from worker_ipc import open_child, open_stream
from worker_ipc.codecs import JsonLines
from worker_pool import WorkPool
from worker_sources import IterableSource, QueueSource
from worker_testkit import Cut, children, descriptors, evil, serve, sweep_cancellation, write

pytestmark = [pytest.mark.anyio, pytest.mark.fault(96), pytest.mark.timeout(120)]

HONEST = evil(write('{"type":"ready"}\n'), serve())
every_stack = pytest.mark.parametrize("stack", STACKS)


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    """Each event loop has descriptors of its own, and not the same number."""
    nothing_is_left.seen = None  # type: ignore[attr-defined]


async def nothing_is_left(cut: Cut[Any]) -> None:
    """No child, and not one descriptor more than before: looked at after each cut, not only at the end."""
    assert not children()
    nothing_is_left.seen = getattr(nothing_is_left, "seen", None) or len(descriptors())  # type: ignore[attr-defined]
    assert len(descriptors()) <= nothing_is_left.seen + 1, descriptors()  # type: ignore[attr-defined]


async def test_a_child_opened_asked_and_closed() -> None:
    async def body() -> object:
        async with open_child(HONEST) as channel:
            await channel.listen_once("ready")
            await channel.send("event", {"data": 1})
            return await channel.request("anything")

    cuts = await sweep_cancellation(body, check=nothing_is_left)
    assert cuts[-1].result == "honest"


async def test_a_child_ended_in_the_middle() -> None:
    async def body() -> None:
        async with open_child(HONEST) as channel:
            async with channel_listening(channel):
                await channel.listen_once("ready")
            await channel.destroy(grace=0.2)

    await sweep_cancellation(body, check=nothing_is_left)


class channel_listening:  # noqa: N801 - reads as a function
    """A subscription that is open while the block runs, and a handler."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    async def __aenter__(self) -> None:
        self.listener = self.channel.listen("nothing")
        self.remove = self.channel.listen_for("nothing either", print)

    async def __aexit__(self, *_: object) -> None:
        self.remove()
        self.listener.close()


async def test_a_program_that_speaks_lines() -> None:
    async def body() -> object:
        async with open_stream(["cat"], JsonLines()) as stream:
            await stream.send({"a": 1})
            return await stream.receive()

    cuts = await sweep_cancellation(body, check=nothing_is_left)
    assert cuts[-1].result == {"a": 1}


@every_stack
async def test_a_pool_from_opening_to_closing(stack: str) -> None:
    async def body() -> object:
        async with WorkPool(partial(make, stack), max_size=1) as pool:
            return await pool.execute(["ok", 7])

    cuts = await sweep_cancellation(body, check=nothing_is_left, timeout=20)
    assert cuts[-1].result == 7


@every_stack
async def test_one_execute_of_a_pool_that_goes_on(stack: str) -> None:
    async with WorkPool(partial(make, stack), max_size=2) as pool:

        async def body() -> object:
            return await pool.execute(["ok", 7])

        async def works(cut: Cut[Any]) -> None:
            assert cut.result == 7 if cut.finished else cut.result is None
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(pool.execute, ["ok", 1])
            assert pool.statistics().running == 0

        await sweep_cancellation(body, check=works, timeout=20)


@every_stack
async def test_a_stream_of_outcomes(stack: str) -> None:
    async with WorkPool(partial(make, stack), max_size=2) as pool:

        async def body() -> list[object]:
            async with pool.stream([["ok", number] for number in range(4)], ordered=True) as outcomes:
                return [outcome.unwrap() async for outcome in outcomes]

        async def works(cut: Cut[Any]) -> None:
            assert await pool.execute(["ok", 1]) == 1
            statistics = pool.statistics()
            assert (statistics.running, statistics.waiting) == (0, 0)

        cuts = await sweep_cancellation(body, check=works, timeout=20)
        assert cuts[-1].result == [0, 1, 2, 3]


@every_stack
async def test_processing_a_queue_loses_no_item(stack: str) -> None:
    """What a cancelled call had taken is unfinished; what it had not taken is still in the queue."""
    async with WorkPool(partial(make, stack), max_size=2) as pool:
        queue: QueueSource[Any] = QueueSource()
        put = 0

        async def body() -> object:
            nonlocal put
            for number in range(4):
                queue.put_nowait(["ok", number])
                put += 1
            return await pool.process(QueueUntilEmpty(queue))

        async def balanced(cut: Cut[Any]) -> None:
            assert await pool.execute(["ok", 1]) == 1
            extra = sum(1 for _ in range(pool_checks.pop()))
            statistics = pool.statistics()
            ended = statistics.succeeded + statistics.failed + statistics.unfinished - extra
            assert ended + len(queue) == put

        pool_checks = Counter()
        await sweep_cancellation(body, check=balanced, timeout=20)


class Counter:
    """How many inputs the checks themselves have run so far."""

    def __init__(self) -> None:
        self.count = 0

    def pop(self) -> int:
        self.count += 1
        return self.count


class QueueUntilEmpty:
    """Iterates over what is in a queue now."""

    def __init__(self, queue: QueueSource[Any]) -> None:
        self.queue = queue

    def __aiter__(self) -> "QueueUntilEmpty":
        return self

    async def __anext__(self) -> Any:
        if not len(self.queue):
            raise StopAsyncIteration
        return await self.queue.__anext__()


@every_stack
async def test_a_shutdown(stack: str) -> None:
    async def body() -> None:
        async with WorkPool(partial(make, stack), max_size=2, min_size=1) as pool:
            await pool.execute(["ok", 1])
            await pool.shutdown(grace=1)

    await sweep_cancellation(body, check=nothing_is_left, timeout=20)


async def test_a_generator_is_not_closed_by_a_cancelled_consumer() -> None:
    async def numbers() -> Any:
        for number in range(1000):
            await anyio.lowlevel.checkpoint()
            yield number

    got: list[int] = []
    async with IterableSource(numbers) as source:

        async def body() -> None:
            got.append(await source.__anext__())
            got.append(await source.__anext__())

        await sweep_cancellation(body)
        got.append(await source.__anext__())
    assert got == sorted(set(got))
    assert got[-1] - got[0] == len(got) - 1  # not one was lost
