"""A program that knows nothing of anyio: `asyncio.run` on both ends of the channel.

`anyio.run` leaves a mark of the loop in every context, and so in those of a channel's callbacks. Here nobody does.
"""

import asyncio
import contextvars
import sys

import pytest

from worker_ipc import ChannelClosed, RemoteError, open_child, open_stream
from worker_testkit import evil, pause, step

pytestmark = pytest.mark.usefixtures("no_leaks")

PATIENCE = 20  # seconds; only a hang needs them

CHILD = """
import asyncio
from worker_ipc import open_parent

async def main():
    async with open_parent() as channel:
        async def twice(value):
            await asyncio.sleep(0)
            return value * 2

        async def echo(message):
            await asyncio.sleep(0)
            await channel.send("echo", {"data": message["data"]})

        async def ask(value):
            return await channel.request("twice", [value])

        async def never():
            await asyncio.Event().wait()

        channel.listen_for("say", echo)
        await channel.send("ready")
        await channel.listen_once("load")
        for function in (twice, ask, never):
            channel.handle(function.__name__, function)
        channel.handle("at once", lambda: 1)
        await channel.listen_once("end")

asyncio.run(main())
"""


def run(main):
    """Run it in an empty context: whatever the tests before this one left in theirs."""

    async def bounded():
        async with asyncio.timeout(PATIENCE):
            return await main()

    return contextvars.Context().run(asyncio.run, bounded())


def child():
    return open_child([sys.executable, "-c", CHILD])


def test_events_go_both_ways_and_reach_async_handlers():
    async def main():
        heard = asyncio.Queue()

        async def hear(message):
            await asyncio.sleep(0)
            await heard.put(message["data"])

        async with child() as channel:
            channel.listen_for("echo", hear)
            await channel.listen_once("ready")
            for data in ("a", "b" * 500_000):
                await channel.send("say", {"data": data})
                assert await heard.get() == data

    run(main)


def test_requests_go_both_ways_and_are_answered_by_async_functions():
    async def twice(value):
        await asyncio.sleep(0)
        return value * 2

    async def main():
        async with child() as channel:
            channel.handle("twice", twice)
            await channel.send("load")
            assert await channel.request("at once") == 1
            assert await channel.request("twice", [4]) == 8
            assert await channel.request("ask", ["b" * 500_000]) == "b" * 1_000_000
            with pytest.raises(RemoteError, match="no function"):
                await channel.request("unknown")

    run(main)


def test_requests_that_come_before_their_function_are_held_for_it():
    async def main():
        async with child() as channel:
            await channel.listen_once("ready")
            requests = [asyncio.create_task(channel.request("twice", [n])) for n in range(3)]
            await asyncio.sleep(0)
            await channel.send("load")
            assert await asyncio.gather(*requests) == [0, 2, 4]

    run(main)


def test_a_request_is_cancelled_on_both_sides():
    async def main():
        async with child() as channel:
            await channel.send("load")
            with pytest.raises(TimeoutError):
                await channel.request("never", timeout=0.01)
            assert await channel.request("at once") == 1

    run(main)


def test_a_child_that_closes_its_end_and_lives_ends_the_channel():
    async def main():
        async with open_child(evil(step("close"), pause())) as channel:
            with pytest.raises(ChannelClosed, match="closed its end"):
                await channel.listen_once("anything")

    run(main)


def test_a_child_that_does_not_listen_leaves_with_its_parent(raw_child):
    code = """
    import asyncio
    import worker_ipc._child
    from worker_ipc import open_parent

    async def main():
        worker_ipc._child.LEAVE_TIME = 0.05
        async with open_parent() as channel:
            await channel.send("ready")
            await asyncio.Event().wait()

    asyncio.run(main())
    """
    process = raw_child(code, prelude="")
    assert process.receive() == {"type": "ready"}
    process.close()
    process.ends_quietly()


def test_a_program_is_a_stream_of_messages():
    async def main():
        async with open_stream(["cat"]) as stream:
            for line in ("a", "b" * 500_000):
                await stream.send(line)
                assert await stream.receive() == line
        with pytest.raises(ChannelClosed, match="code 3"):
            async with open_stream(["sh", "-c", "exit 3"]) as stream:
                await stream.receive()

    run(main)


def test_what_the_callbacks_run_has_the_context_of_who_opened_the_channel():
    name = contextvars.ContextVar("name")

    async def main():
        seen = []

        async def answer(_value):
            seen.append(name.get())

        name.set("opener")
        async with child() as channel:
            channel.handle("twice", answer)
            name.set("somebody else")
            await channel.send("load")
            await channel.request("ask", [1])
        assert seen == ["opener"]

    run(main)
