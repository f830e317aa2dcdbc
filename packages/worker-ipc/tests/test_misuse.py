"""What is of a wrong kind is refused at the call, and named; what may wait for ever is told of."""

import sys

import anyio
import anyio.lowlevel
import pytest

from worker_ipc import RemoteError, open_child, open_parent, open_stream
from worker_ipc.codecs import JsonLines
from worker_testkit import evil

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

ASYNC_CHILD = """
import logging, sys, anyio, worker_ipc._answers
from worker_ipc import open_parent
worker_ipc._answers.REMINDER = 0.05
logging.basicConfig(stream=sys.stderr)

async def main():
    async with open_parent() as channel:
        await channel.listen_once("end")

anyio.run(main, backend=sys.argv[1])
"""
BLOCKING_CHILD = """
import logging, sys
from worker_ipc.blocking import open_parent
logging.basicConfig(stream=sys.stderr)
with open_parent() as channel:
    for _ in channel.listen("end"):
        break
"""
SERVING_NOTHING = "from worker_ipc.blocking import open_parent\nwith open_parent() as channel:\n    channel.serve()\n"


@pytest.mark.parametrize("params", ["abc", b"abc", 5, {1}, object()], ids=repr)
async def test_params_of_a_wrong_kind(params):
    async with open_child(evil("ready-twice")) as channel:
        calls = [
            lambda: channel.request_nowait("f", params, print),
            lambda: channel.request_many_nowait("f", [[1], params], print),
        ]
        for call in calls:
            with pytest.raises(TypeError, match="params must be"):
                call()
        for call in (channel.request, channel.notify):
            with pytest.raises(TypeError, match="params must be"):
                await call("f", params)
        assert channel.statistics().pending_requests == channel.sent == 0
        assert await channel.request("f") == "honest"


@pytest.mark.parametrize("data", ["abc", 5, [], [("a", 1)]], ids=repr)
async def test_data_of_a_wrong_kind(data):
    async with open_child(evil("ready-twice")) as channel:
        with pytest.raises(TypeError, match="data of a message must be a mapping"):
            await channel.send("x", data)
        with pytest.raises(TypeError, match="data of a message must be a mapping"):
            channel.send_nowait("x", data)
        assert channel.sent == 0


@pytest.mark.parametrize("open_it", [open_child, open_stream])
@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ({"env": {"NAME": 5}}, TypeError, r"env\['NAME'\] must be"),
        ({"codec": JsonLines}, TypeError, "codec must be"),
        ({"codec": "json"}, TypeError, "codec must be"),
        ({"stderr": "nowhere"}, ValueError, "stderr must be"),
        ({"mailbox": 0}, ValueError, "mailbox must be at least 1 message, got 0"),
        ({"mailbox": -1}, ValueError, "mailbox must be at least 1"),
        ({"mailbox": "x"}, TypeError, "mailbox must be an int, .* got 'x'"),
        ({"mailbox": 1.5}, TypeError, "mailbox must be an int"),
    ],
    ids=repr,
)
async def test_options_of_a_wrong_kind(open_it, option, error, words):
    with pytest.raises(error, match=words):
        async with open_it(["cat"], **option):
            pass


@pytest.mark.parametrize(("mailbox", "error"), [(0, ValueError), ("x", TypeError)])
async def test_a_mailbox_of_a_wrong_kind_in_a_child(mailbox, error):
    with pytest.raises(error, match="mailbox must be"):
        async with open_parent(mailbox=mailbox):
            pass


async def test_a_mailbox_of_one_message_is_enough():
    async with open_stream([sys.executable, "-c", "for number in range(100): print(number)"], mailbox=1) as stream:
        with anyio.fail_after(20):
            assert [message async for message in stream] == [str(number) for number in range(100)]


async def test_a_child_tells_of_a_request_that_it_holds(anyio_backend_name):
    await _reminds([sys.executable, "-c", ASYNC_CHILD, anyio_backend_name])


async def test_a_blocking_child_tells_of_it_at_once():
    await _reminds([sys.executable, "-c", BLOCKING_CHILD])


async def _reminds(command):
    async with open_child(command, stderr="capture") as channel:
        channel.request_nowait("f", [1], lambda *_: None)
        with anyio.fail_after(20):
            while "a request for 'f' waits" not in channel.stderr:
                await anyio.lowlevel.checkpoint()


async def test_a_blocking_child_that_serves_nothing_refuses():
    async with open_child([sys.executable, "-c", SERVING_NOTHING]) as channel:
        with pytest.raises(RemoteError, match="no function answers 'f'") as refused:
            await channel.request("f", [1])
        assert refused.value.code == -32601


@pytest.mark.parametrize("method", [5, None, b"f", ["f"]], ids=repr)
async def test_a_method_that_is_no_name(method):
    async with open_child(evil("ready-twice")) as channel:
        calls = [
            lambda: channel.request_nowait(method, None, print),
            lambda: channel.request_many_nowait(method, [[1]], print),
            lambda: channel.handle(method, print),
        ]
        for call in calls:
            with pytest.raises(TypeError, match="name of a method must be str"):
                call()
        for call in (channel.request, channel.notify):
            with pytest.raises(TypeError, match="name of a method must be str"):
                await call(method)
        assert channel.statistics().pending_requests == channel.sent == 0
        assert await channel.request("f") == "honest"


async def test_a_type_that_nobody_can_send():
    async with open_child(evil("ready-twice")) as channel:
        for call in (channel.listen_once, channel.listen, lambda type: channel.listen_for(type, print)):
            with pytest.raises(TypeError, match="type of a message must be str, or None for any, got 5"):
                call(5)


async def test_a_function_that_is_none():
    async with open_child(evil("ready-twice")) as channel:
        for call in (channel.handle, channel.listen_for):
            with pytest.raises(TypeError, match="can be called, got 'print'"):
                call("f", "print")
