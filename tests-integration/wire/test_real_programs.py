"""Programs that were written for others: a language server on Node's channel and on stdio, an MCP server on stdio."""

import anyio
import pytest

from worker_ipc import open_child, open_stream
from worker_ipc.codecs import ContentLength, JsonLines

pytestmark = [pytest.mark.node, pytest.mark.anyio, pytest.mark.timeout(320)]

CLIENT = {"processId": None, "rootUri": None, "capabilities": {}}


@pytest.fixture
def language_server(node_modules):
    return ["node", str(node_modules / "dockerfile-language-server-nodejs/bin/docker-langserver")]


async def test_a_language_server_answers_requests_on_the_channel(language_server):
    with anyio.fail_after(60):
        async with open_child([*language_server, "--node-ipc"]) as channel:
            capabilities = (await channel.request("initialize", CLIENT))["capabilities"]
            assert "completionProvider" in capabilities
            await channel.notify("initialized", {})
            document = {
                "uri": "file:///Dockerfile",
                "languageId": "dockerfile",
                "version": 1,
                "text": "FROM a\nFRUM b\n",
            }
            diagnostics = []
            arrived = anyio.Event()
            channel.handle("textDocument/publishDiagnostics", lambda **p: (diagnostics.append(p), arrived.set()))
            await channel.notify("textDocument/didOpen", {"textDocument": document})
            await arrived.wait()
            assert "FRUM" in str(diagnostics[0]["diagnostics"])
            assert await channel.request("shutdown") is None
            await channel.notify("exit")


async def test_a_language_server_answers_frames_on_stdio(language_server):
    with anyio.fail_after(60):
        async with open_stream([*language_server, "--stdio"], codec=ContentLength()) as stream:
            await stream.send({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": CLIENT})
            reply = await stream.receive()
            assert reply["id"] == 1
            assert "completionProvider" in reply["result"]["capabilities"]


async def test_an_mcp_server_answers_lines_on_stdio(node_modules):
    server = ["node", str(node_modules / "@modelcontextprotocol/server-everything/dist/index.js")]
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    call = {"name": "echo", "arguments": {"message": "é\u2028"}}
    with anyio.fail_after(60):
        async with open_stream(server, codec=JsonLines()) as stream:
            await stream.send({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client})
            assert (await stream.receive())["result"]["protocolVersion"] == "2025-06-18"
            await stream.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
            await stream.send({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call})
            while (reply := await stream.receive()).get("id") != 2:
                pass
            assert reply["result"]["content"] == [{"type": "text", "text": "Echo: é\u2028"}]
