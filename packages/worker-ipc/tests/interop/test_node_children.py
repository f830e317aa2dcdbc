"""A Node program without any library is a child like any other: `process.send`, `process.on("message")`."""

import math

import anyio
import pytest

from worker_ipc import ChannelClosed, EncodeError, open_child
from worker_ipc.codecs import JsonLines

pytestmark = [pytest.mark.node, pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

DOUBLE = """
process.send({ type: "ready" });
process.on("message", (m) => process.send({ type: "response", data: m.data + m.data }));
"""
ECHO = """process.on("message", (m) => process.send({ type: "echo", data: m.data }));"""


def node(code, **options):
    return open_child(["node", "-e", code], **options)


async def test_a_conversation_as_in_the_readme():
    with anyio.fail_after(20):
        async with node(DOUBLE) as channel:
            await channel.listen_once("ready")
            reply = channel.listen_once("response")
            await channel.send("request", {"data": "a-"})
            assert (await reply)["data"] == "a-a-"


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -1.5, 2**53 - 1, -(2**53) + 1, 5e-324, 1.7976931348623157e308, ""),
        *("é\u2028\u2029\x85\x00\x1c\U0001f600", "line\nbreak\r", [], {}, {"__proto__x": [{"a": [None]}]}),
        "x" * 3_000_000,
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_values_go_there_and_come_back(value):
    with anyio.fail_after(20):
        async with node(ECHO, codec=JsonLines(interop="node")) as channel:
            reply = channel.listen_once("echo")
            await channel.send("x", {"data": value})
            assert (await reply)["data"] == value


@pytest.mark.wire("C9")
@pytest.mark.wire("F7")
@pytest.mark.fault(61)
@pytest.mark.fault(63)
async def test_what_javascript_would_change_is_refused_and_what_it_may_send_is_read():
    code = r"""
    process.send({ type: "all", s: "\ud800", nan: NaN, undef: undefined, date: new Date(0), max: 2 ** 53, e: 1e300 });
    process.on("message", () => {});
    """
    with anyio.fail_after(20):
        async with node(code, codec=JsonLines(interop="node")) as channel:
            message = await channel.listen_once("all")
            assert message == {
                "type": "all",
                "s": "\ud800",
                "nan": None,
                "date": "1970-01-01T00:00:00.000Z",
                "max": 2**53,
                "e": 1e300,
            }
            for value in (2**53, math.nan, "\ud800"):
                with pytest.raises(EncodeError):
                    await channel.send("x", {"value": value})


@pytest.mark.wire("F2")
async def test_a_handle_is_answered_so_that_what_follows_it_arrives():
    code = """
    const server = require("net").createServer().listen(0, "127.0.0.1", () => {
      process.send({ type: "before" });
      process.send({ type: "handle" }, server);
      process.send({ type: "after" }, () => server.close());
    });
    process.on("message", () => {});
    """
    with anyio.fail_after(20):
        async with node(code, stderr="capture") as channel:
            assert [(await channel.listen_once())["type"] for _ in range(2)] == ["before", "after"]


@pytest.mark.wire("C1")
async def test_its_end_ends_every_wait_with_the_exit_status():
    with anyio.fail_after(20):
        async with node('process.send({ type: "last" }, () => process.exit(3));') as channel:
            never = channel.listen_once("never")
            with pytest.raises(ChannelClosed) as caught:
                await never
            assert caught.value.returncode == 3
            assert (await channel.listen_once("last")) == {"type": "last"}


@pytest.mark.wire("A5")
async def test_closing_lets_it_end_by_itself():
    with anyio.fail_after(20):
        async with node('process.send({ type: "ready" }); process.on("message", () => {});') as channel:
            await channel.listen_once("ready")
        assert channel.returncode == 0


async def test_json_rpc_needs_no_library_either():
    code = """
    process.on("message", ({ id, method, params }) =>
      process.send(method === "add" ? { jsonrpc: "2.0", id, result: params[0] + params[1] }
                                    : { jsonrpc: "2.0", id, error: { code: -32601, message: "no " + method } }));
    """
    with anyio.fail_after(20):
        async with node(code) as channel:
            assert await channel.request("add", [1, 2]) == 3
            with pytest.raises(Exception, match="no such") as caught:
                await channel.request("such")
            assert type(caught.value).__name__ == "RemoteError"
