"""A channel belongs to one event loop: who uses it from elsewhere is told so at once, and never waits for nothing."""

import sys
from functools import partial

import anyio
import pytest
from anyio import fail_after, from_thread, to_thread

from worker_ipc import ChannelClosed, open_child, open_stream

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.fault(86)]

ECHO = "from worker_ipc.blocking import open_parent\nwith open_parent() as channel:\n"
ECHO += "    channel.serve({'echo': lambda value: value})\n"
COMMAND = [sys.executable, "-c", ECHO]
ELSEWHERE = "another thread: call it there"

SYNC_CALLS = {
    "send_nowait": lambda channel: channel.send_nowait("x"),
    "listen_once": lambda channel: channel.listen_once("x"),
    "listen": lambda channel: channel.listen("x"),
    "listen_for": lambda channel: channel.listen_for("x", print),
    "release": lambda channel: channel.release(),
    "handle": lambda channel: channel.handle("x", print),
    "request_nowait": lambda channel: channel.request_nowait("echo", [1], print),
    "request_many_nowait": lambda channel: channel.request_many_nowait("echo", [[1], [2]], print),
}
ASYNC_CALLS = {
    "send": lambda channel: channel.send("x"),
    "notify": lambda channel: channel.notify("echo", [1]),
    "request": lambda channel: channel.request("echo", [1]),
    "request with a timeout": lambda channel: channel.request("echo", [1], timeout=5),
    "destroy": lambda channel: channel.destroy(),
}
STREAM_CALLS = {
    "send": lambda stream: stream.send("x"),
    "receive": lambda stream: stream.receive(),
    "iterate": lambda stream: anext(stream),
    "send_eof": lambda stream: stream.send_eof(),
}
SYNC_STREAM_CALLS = {
    "send_nowait": lambda stream: stream.send_nowait("x"),
    "post": lambda stream: stream.post("x"),
    "attach": lambda stream: stream.attach(None),
}

other_loop = pytest.mark.parametrize("other", ["asyncio", "trio"])


async def refused_elsewhere(other, call, owner):
    """Make the call in another thread, in an event loop of its own; the limit makes a hang fail."""

    async def body():
        with fail_after(5), pytest.raises(RuntimeError, match=ELSEWHERE):
            result = call(owner)
            if hasattr(result, "__await__"):
                await result

    await to_thread.run_sync(partial(anyio.run, body, backend=other))


@pytest.mark.anyio
@other_loop
@pytest.mark.parametrize("name", [*SYNC_CALLS, *ASYNC_CALLS])
async def test_a_channel_refuses_another_loop_that_runs_at_the_same_time(name, other):
    async with open_child(COMMAND) as channel:
        await refused_elsewhere(other, (SYNC_CALLS | ASYNC_CALLS)[name], channel)
        assert await channel.request("echo", ["still mine"]) == "still mine"
        assert channel.statistics().pending_requests == 0


@pytest.mark.anyio
@other_loop
@pytest.mark.parametrize("name", [*STREAM_CALLS, *SYNC_STREAM_CALLS])
async def test_a_stream_refuses_another_loop_that_runs_at_the_same_time(name, other):
    async with open_stream(["cat"]) as stream:
        await refused_elsewhere(other, (STREAM_CALLS | SYNC_STREAM_CALLS)[name], stream)
        await stream.send("still mine")
        assert await stream.receive() == "still mine"


@pytest.mark.anyio
@other_loop
async def test_what_was_made_in_one_loop_is_not_awaited_in_another(other):
    async with open_child(COMMAND) as channel:
        wait, listener = channel.listen_once("x"), channel.listen("y")
        pending = channel.request_nowait("echo", [1], lambda *_: None)
        await refused_elsewhere(other, lambda _: wait, channel)
        await refused_elsewhere(other, lambda _: anext(listener), channel)
        await refused_elsewhere(other, lambda _: pending.cancel(), channel)
        listener.close()


@pytest.mark.anyio
@pytest.mark.parametrize("name", [*SYNC_CALLS, *ASYNC_CALLS])
async def test_a_thread_without_a_loop_is_told_how_to_call(name):
    async with open_child(COMMAND) as channel:

        def call():
            with pytest.raises(RuntimeError, match=r"anyio\.from_thread"):
                result = (SYNC_CALLS | ASYNC_CALLS)[name](channel)
                result.send(None)  # the first step of a coroutine, without a loop that would take it

        await to_thread.run_sync(call)


@pytest.mark.anyio
async def test_a_thread_may_call_the_way_that_it_is_told():
    async with open_child(COMMAND) as channel:

        def call():
            from_thread.run_sync(channel.send_nowait, "x")
            return from_thread.run(channel.request, "echo", [1])

        assert await to_thread.run_sync(call) == 1


@pytest.mark.parametrize("name", ["send", "notify", "request", "send_nowait", "listen_for", "request_nowait"])
def test_after_its_run_a_channel_is_closed(name, anyio_backend_name):
    async def first():
        async with open_child(COMMAND) as channel:
            assert await channel.request("echo", [1]) == 1
            return channel

    async def second():
        with fail_after(5), pytest.raises(ChannelClosed, match="closed on this side"):
            await (SYNC_CALLS | ASYNC_CALLS)[name](channel)

    channel = anyio.run(first, backend=anyio_backend_name)
    anyio.run(second, backend=anyio_backend_name)


def test_after_its_run_nothing_of_a_channel_waits(anyio_backend_name):
    async def first():
        async with open_child(COMMAND) as channel:
            return channel, channel.listen_once("x"), channel.listen("x")

    async def second():
        with fail_after(5):
            for wait in (wait_then, channel.listen_once("x")):
                with pytest.raises(ChannelClosed):
                    await wait
            for listener in (listener_then, channel.listen("x")):
                with pytest.raises(ChannelClosed):
                    await anext(listener)
            await channel.destroy()

    channel, wait_then, listener_then = anyio.run(first, backend=anyio_backend_name)
    anyio.run(second, backend=anyio_backend_name)


def test_after_its_run_a_stream_is_closed(anyio_backend_name):
    async def first():
        async with open_stream(["cat"]) as stream:
            return stream

    async def second():
        for name in ("send", "receive", "iterate"):
            with fail_after(5), pytest.raises(ChannelClosed):
                await STREAM_CALLS[name](stream)
        for name in ("send_nowait", "post"):
            with pytest.raises(ChannelClosed):
                SYNC_STREAM_CALLS[name](stream)

    stream = anyio.run(first, backend=anyio_backend_name)
    anyio.run(second, backend=anyio_backend_name)
