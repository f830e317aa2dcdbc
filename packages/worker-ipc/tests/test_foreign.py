"""A function that ends in somebody else's cancellation has failed: nobody cancelled the one who runs it."""

import asyncio
import sys

import anyio
import anyio.lowlevel
import pytest

from worker_ipc import RemoteError, open_child
from worker_testkit import evil, write

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),  # on trio, a cancellation can't come along with a result
]

CHILD = """
import asyncio
from worker_ipc import open_parent

async def cancelled():
    task = asyncio.create_task(asyncio.Event().wait())
    task.cancel()
    await task

async def ask():
    return await channel.request("f")

async def main():
    global channel
    async with open_parent() as channel:
        channel.handle("cancelled", cancelled)
        channel.handle("ask", ask)
        await channel.listen_once("end")

asyncio.run(main())
"""


async def fail_by_cancellation(*_):
    task = asyncio.create_task(asyncio.Event().wait())
    task.cancel()
    await task


@pytest.fixture
def child():
    return lambda: open_child([sys.executable, "-c", CHILD])


async def test_an_answering_function_of_the_child_has_failed(child):
    async with child() as channel:
        for _ in range(2):
            with pytest.raises(RemoteError, match="CancelledError"):
                await channel.request("cancelled")


async def test_an_answering_function_of_the_parent_has_failed(child):
    async with child() as channel:
        channel.handle("f", fail_by_cancellation)
        with pytest.raises(RemoteError, match="CancelledError"):
            await channel.request("ask")
        channel.handle("f", lambda: 1)
        assert await channel.request("ask") == 1
        assert channel.statistics().handler_errors == 1


async def test_a_handler_of_events_has_failed_and_stays(caplog):
    heard = []

    async def hear(message):
        heard.append(message["n"])
        await fail_by_cancellation()

    async with open_child(evil(write('{"type":"x","n":1}\n{"type":"x","n":2}\n'))) as channel:
        channel.listen_for("x", hear)
        while channel.statistics().handler_errors < 2:
            await anyio.lowlevel.checkpoint()
    assert heard == [1, 2]
    assert "CancelledError" in caplog.text


async def test_the_end_of_the_block_still_cancels_what_runs():
    ended = []

    async def hear(_):
        try:
            await anyio.sleep_forever()
        except BaseException as error:
            ended.append(type(error))
            raise

    async with open_child(evil(write('{"type":"x"}\n'))) as channel:
        channel.listen_for("x", hear)
        while not channel.statistics().received:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
    assert ended == [asyncio.CancelledError]
    assert channel.statistics().handler_errors == 0
