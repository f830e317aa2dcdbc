"""Cancellation is safe at every await: the channel works after it, and nothing is left behind."""

import sys

import anyio
import pytest

from worker_ipc import open_child, open_stream
from worker_testkit import evil, sweep_cancellation

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks"), pytest.mark.fault(96)]

ECHO = """
from worker_ipc.blocking import open_parent
with open_parent() as channel:
    channel.handle("double", lambda value: value * 2)
    for message in channel.listen("x"):
        channel.send("y", {"data": message.get("data")})
"""
COMMAND = [sys.executable, "-S", "-c", "import sys; sys.path[:0] = sys.argv[1].split(':')" + ECHO, ":".join(sys.path)]


async def test_opening_and_leaving_a_child():
    async def body():
        async with open_child(evil("ready-twice")) as channel:
            await channel.listen_once("ready")
            await channel.request("anything")

    await sweep_cancellation(body)


async def test_opening_and_leaving_a_stream():
    async def body():
        async with open_stream(["cat"]) as stream:
            await stream.send("line")
            assert await stream.receive() == "line"
            await stream.send_eof()
            async for _ in stream:
                pass

    await sweep_cancellation(body)


async def test_destroying_a_child_that_ignores_everything():
    async def body():
        async with open_child(evil("stubborn")) as channel:
            await channel.listen_once("ready")
            await channel.destroy(grace=0.05)

    await sweep_cancellation(body)


async def test_a_request():
    async with open_child(COMMAND) as channel:

        async def body():
            return await channel.request("double", [21])

        async def check(cut):
            assert cut.result in (42, None)
            assert await channel.request("double", [1]) == 2
            assert channel.statistics().pending_requests == 0

        cuts = await sweep_cancellation(body, check=check)
    assert cuts[-1].result == 42


async def test_an_event_and_the_wait_for_its_answer():
    async with open_child(COMMAND) as channel:
        numbers = iter(range(1000))

        async def body():
            reply = channel.listen_once("y")
            await channel.send("x", {"number": next(numbers)})
            return (await reply)["type"]

        async def check(cut):
            await channel.request("double", [1])  # by now the answer to the cancelled one is here
            if not cut.finished:
                assert channel.statistics().kept <= 1
                channel._core.mailbox.kept.clear()
            assert await body() == "y"

        await sweep_cancellation(body, check=check)


async def test_an_iteration():
    async with open_child(COMMAND) as channel:
        received = []
        listener = channel.listen("y")

        async def body():
            await channel.send("x")
            received.append(await anext(listener))

        await sweep_cancellation(body)
        sent = channel.statistics().sent
        with anyio.fail_after(5):
            while len(received) < sent:  # nothing was lost to a cancelled iteration
                received.append(await anext(listener))


async def test_a_send_that_waits_its_turn():
    async with open_child(COMMAND) as channel:
        listener = channel.listen("y")

        async def body():
            for number in range(5):
                await channel.send("x", {"number": number, "data": "z" * 300_000})

        async def check(cut):
            assert await channel.request("double", [1]) == 2

        await sweep_cancellation(body, check=check)
        while channel.statistics().queued_bytes:
            assert len((await anext(listener))["data"]) == 300_000
