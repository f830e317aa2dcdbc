"""The bare channel, without a pool: `depth` tasks per child, each asking for one input after another."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from sys import executable

import anyio

from bench.load import AsyncRun
from bench.pullers import pull
from worker_ipc import ParentChannel, open_child

CHILD = str(Path(__file__).with_name("double_child.py"))


@asynccontextmanager
async def open_pool(workers: int, depth: int, talk: str = "request") -> AsyncIterator[AsyncRun]:
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(open_child([executable, CHILD])) for _ in range(workers)]
        for channel in channels:
            await channel.listen_once("ready")
        runs = [pull(depth, request(channel) if talk == "request" else events(channel)) for channel in channels]

        async def run(inputs: Iterable[str], keep: Callable[[str], object]) -> None:
            todo = iter(inputs)
            async with anyio.create_task_group() as group:
                for one in runs:
                    group.start_soon(one, todo, keep)

        yield run


def request(channel: ParentChannel) -> Callable[[str], object]:
    async def execute(data: str) -> str:
        answer: str = await channel.request("double", [data])
        return answer

    return execute


def events(channel: ParentChannel) -> Callable[[str], object]:
    async def execute(data: str) -> str:
        response = channel.listen_once("response")
        await channel.send("request", {"data": data})
        answer: str = (await response)["data"]
        return answer

    return execute
