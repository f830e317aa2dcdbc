"""The child's end with an event loop, seen from a raw socket: bytes, and no code of ours on the other side."""

import json
import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import os, sys, anyio
from worker_ipc import open_parent, ChannelClosed

def run(main):
    anyio.run(main, backend={backend!r})
"""


@pytest.fixture(params=["asyncio", "trio"])
def child(request, raw_child):
    def start(code, **options):
        main = "async def main():\n    async with open_parent() as channel:\n" + textwrap.indent(
            textwrap.dedent(code), " " * 8
        )
        return raw_child(main + "\nrun(main)", prelude=PRELUDE.format(backend=request.param), **options)

    return start


ECHO = """
await channel.send("ready")
async for message in channel.listen("request"):
    await channel.send("response", {"data": message["data"] * 2})
"""


def test_it_answers_events_and_ends_quietly_with_its_parent(child):
    process = child(ECHO)
    assert process.receive() == {"type": "ready"}
    process.send({"type": "request", "data": "a-"})
    assert process.receive() == {"type": "response", "data": "a-a-"}
    process.close()
    process.ends_quietly()


def test_it_may_close_the_channel_and_go_on(child):
    process = child(
        """
        for number in range(100):
            channel.send_nowait("number", {"data": number})
        await channel.close()
        await channel.close()
        assert not channel.active
        for wait in (lambda: channel.send("more"), lambda: channel.listen_once("any"), lambda: channel.request("any")):
            try:
                await wait()
            except ChannelClosed as error:
                assert str(error) == "the channel was closed on this side", error
            else:
                raise AssertionError("not reached")
        """
    )
    assert [process.receive()["data"] for _ in range(100)] == list(range(100))
    assert process.receive() is None
    assert process.wait() == 0


@pytest.mark.wire("F6")
@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("fd", [None, 0, 1, 2])
def test_the_channel_may_be_any_descriptor_blocking_or_not(child, fd, blocking):
    process = child('await channel.send("here")\nprint("noise", flush=True)', fd=fd, blocking=blocking)
    assert process.receive() == {"type": "here"}
    assert process.receive() is None
    assert process.wait() == 0


@pytest.mark.wire("D1")
@pytest.mark.wire("E1")
def test_a_wait_that_the_parent_leaves_ends_quietly_too(child):
    process = child('await channel.send("ready")\nawait channel.listen_once("never")')
    process.receive()
    process.close()
    process.ends_quietly()


def test_a_send_to_a_parent_that_left_ends_quietly(child):
    process = child('while True:\n    await channel.send("x", {"data": "y" * 1000})')
    process.receive()
    process.close()
    process.ends_quietly()


def test_a_block_that_does_not_end_by_itself_is_cancelled(child):
    process = child(
        """
        import worker_ipc._child
        worker_ipc._child.LEAVE_TIME = 0.05
        await channel.send("ready")
        await anyio.sleep_forever()
        """
    )
    process.receive()
    process.close()
    process.ends_quietly()


@pytest.mark.fault("S4")
@pytest.mark.wire("F1")
def test_the_channel_is_taken_over_before_anybody_else_finds_it(child):
    process = child(
        """
        fd = channel._core.stream._fd_in
        await channel.send("state", {
            "left": [name for name in os.environ if name.startswith("NODE_CHANNEL")],
            "inheritable": os.get_inheritable(fd), "blocking": os.get_blocking(fd)})
        """
    )
    assert process.receive() == {"type": "state", "left": [], "inheritable": False, "blocking": False}
    process.ends_quietly()


@pytest.mark.wire("A4")
@pytest.mark.fault(76)
def test_what_was_sent_before_the_end_of_the_block_is_on_the_wire(child):
    process = child(
        """
        for n in range(20):
            channel.send_nowait("x", {"n": n})
        await channel.send("y", {"data": "z" * 3_000_000})
        """
    )
    lines = process.receive_rest().splitlines()
    assert len(lines) == 21
    assert len(json.loads(lines[-1])["data"]) == 3_000_000
    process.ends_quietly()


@pytest.mark.wire("A4")
def test_a_message_is_in_the_kernel_when_send_returns(child):
    process = child('await channel.send("x", {"data": "z" * 3_000_000})\nos._exit(0)')
    assert len(process.receive()["data"]) == 3_000_000


def test_a_reply_is_on_the_wire_before_the_next_request_is_looked_at(child):
    process = child(
        """
        channel.handle("answer", lambda: 1)
        channel.handle("die", lambda: os._exit(1))
        await channel.send("ready")
        await channel.listen_once("never")
        """
    )
    process.receive()
    requests = [{"jsonrpc": "2.0", "id": n, "method": "answer"} for n in range(3)]
    process.send(*requests, {"jsonrpc": "2.0", "id": 3, "method": "die"})
    assert [process.receive()["id"] for _ in range(3)] == [0, 1, 2]
    assert process.receive() is None


def test_requests_that_come_before_the_functions_are_held_for_them(child):
    process = child(
        """
        await channel.send("started")
        await channel.listen_once("load")
        channel.handle("a", lambda: "a")
        channel.handle("b", lambda: "b")
        await channel.listen_once("never")
        """
    )
    process.receive()
    process.request("b", id=1)
    process.request("a", id=2)
    process.request("c", id=3)
    process.send({"type": "load"})
    replies = {reply["id"]: reply for reply in (process.receive() for _ in range(3))}
    assert (replies[1]["result"], replies[2]["result"]) == ("b", "a")
    assert replies[3]["error"]["code"] == -32601
    process.request("c", id=4)
    assert process.receive()["error"]["code"] == -32601


@pytest.mark.wire("C5")
def test_a_cancelled_request_is_answered_as_cancelled(child):
    process = child('channel.handle("slow", anyio.sleep_forever)\nawait channel.listen_once("never")')
    process.request("slow", id="mine")
    process.request("slow", id="other")
    process.send({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": "mine"}})
    reply = process.receive()
    assert (reply["id"], reply["error"]["code"]) == ("mine", -32800)


@pytest.mark.wire("E4")
def test_a_request_cancelled_while_it_is_held_is_never_started(child):
    process = child(
        """
        await channel.listen_once("load")
        calls = []
        channel.handle("note", calls.append)
        channel.handle("calls", lambda: calls)
        await channel.listen_once("never")
        """
    )
    process.request("note", "cancelled", id=1)
    process.request("note", "kept", id=2)
    process.send({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 1}})
    assert process.receive()["error"]["code"] == -32800
    process.send({"type": "load"})
    assert process.receive() == {"jsonrpc": "2.0", "id": 2, "result": None}
    process.request("calls", id=3)
    assert process.receive()["result"] == ["kept"]


def test_strange_cancellations_harm_nothing(child):
    process = child('channel.handle("answer", lambda: 1)\nawait channel.listen_once("never")')
    for params in ([], {}, {"id": []}, {"id": {}}, {"id": None}, {"id": "unknown"}):
        process.send({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": params})
    process.send({"jsonrpc": "2.0", "method": "$/cancelRequest"})
    process.request("answer")
    assert process.receive()["result"] == 1


@pytest.mark.wire("F2")
def test_a_handle_from_node_is_refused_so_that_node_goes_on(child):
    process = child('await channel.send("got", await channel.listen_once("x") | {"type": 1} and {})')
    process.send({"cmd": "NODE_HANDLE", "type": "net.Socket", "msg": {}})
    assert process.receive() == {"cmd": "NODE_HANDLE_NACK"}
    process.send({"type": "x"})
    assert process.receive() == {"type": "got"}


def test_a_parent_that_breaks_the_rules_ends_the_child_with_an_error(child):
    process = child('async for _ in channel.listen("x"):\n    pass')
    process.socket.sendall(b"garbage\n")
    assert process.wait() == 1
    assert "ProtocolError" in process.stderr


def test_an_exception_of_the_child_leaves_bare(child):
    process = child('await channel.send("last words")\nraise LookupError("mine")')
    assert process.receive() == {"type": "last words"}
    assert process.wait() == 1
    assert "LookupError: mine" in process.stderr
    assert "Group" not in process.stderr


@pytest.mark.wire("D3")
@pytest.mark.fault(11)
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "worker_ipc.open_child"),
        ({"NODE_CHANNEL_FD": ""}, "worker_ipc.open_child"),
        ({"NODE_CHANNEL_FD": "abc"}, "abc"),
        ({"NODE_CHANNEL_FD": "-1"}, "-1"),
        ({"NODE_CHANNEL_FD": "99"}, "99"),
        ({"NODE_CHANNEL_FD": "0", "NODE_CHANNEL_SERIALIZATION_MODE": "advanced"}, "advanced"),
    ],
)
def test_without_a_usable_channel_it_says_what_to_do(variables, words, anyio_backend_name):
    code = (
        PRELUDE.format(backend=anyio_backend_name) + "async def main():\n    async with open_parent(): pass\nrun(main)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "NoChannel" in result.stderr
    assert words in result.stderr.splitlines()[-1]
