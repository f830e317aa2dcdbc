"""Programs that were written for others as workers of a pool: lines, JSON lines and frames on stdio."""

import itertools
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from worker_ipc import ChannelClosed, ChildStream, open_stream
from worker_ipc.codecs import ContentLength, JsonLines
from worker_pool import Failure, Success, TaskTimeout, WorkFailed, WorkPool
from worker_spawn import WorkerDied, spawned_worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(320)]


def program(name: str) -> str:
    """Where it is, also in Debian's place for games; the test is skipped without it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/games")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


# --- TextLines: bc


async def calculate(bc: ChildStream[str], term: str) -> str:
    await bc.send(term)
    return await bc.receive()


@pytest.fixture
def calculator():
    bc = program("bc")
    return lambda: spawned_worker([bc, "-lq"], open=open_stream, execute=calculate)


async def test_bc_calculates_in_order_on_more_inputs_than_workers(calculator: Any) -> None:
    terms = [f"{number} * {number} + 1" for number in range(200)]
    async with WorkPool(calculator, max_size=2) as pool:
        async with pool.stream(terms, ordered=True) as outcomes:
            assert [outcome.unwrap() async for outcome in outcomes] == [str(n * n + 1) for n in range(200)]
        assert pool.statistics().started <= 2


@pytest.mark.fault(28)
@pytest.mark.fault(44)
async def test_a_bc_that_is_slow_is_replaced_and_its_number_is_nobodys(calculator: Any) -> None:
    slow = 'for (i = 0; i < 10 ^ 6; i++) x = i; "late\n"'.replace("\n", "")
    async with WorkPool(calculator, max_size=1, execute_timeout=0.2) as pool:
        async with pool.stream(["1", slow, "2", "while (1) x = 1", "3"], ordered=True) as outcomes:
            ended = [outcome async for outcome in outcomes]
    assert [outcome.result for outcome in ended if isinstance(outcome, Success)] == ["1", "2", "3"]
    assert all(isinstance(outcome.error, TaskTimeout) for outcome in ended if isinstance(outcome, Failure))


@pytest.mark.fault(15)
@pytest.mark.fault(16)
async def test_a_bc_that_ends_costs_one_input(calculator: Any) -> None:
    async with WorkPool(calculator, max_size=1) as pool:
        with pytest.raises(WorkFailed) as caught:
            await pool.process(["1", "quit", "2"])
        assert [failure.input for failure in caught.value.failures] == ["quit"]
        (error,) = caught.value.exceptions
        assert isinstance(error, WorkerDied)
        assert (error.returncode, error.phase) == (0, "execute")
        assert await pool.execute("2 ^ 100") == str(2**100)


# --- TextLines: exiftool, a chess engine


async def image_size(exiftool: ChildStream[str], picture: str) -> str:
    for argument in ("-s3", "-ImageSize", picture, "-execute"):
        await exiftool.send(argument)
    answer = await exiftool.receive()
    while answer != "{ready}" and await exiftool.receive() != "{ready}":
        pass
    return answer


async def test_one_exiftool_stays_open_for_many_pictures(tmp_path: Path) -> None:
    exiftool = program("exiftool")
    sizes = [f"{width}x{width + 1}" for width in range(1, 21)]
    for size in sizes:  # the smallest picture format there is
        width, height = size.split("x")
        (tmp_path / f"{size}.pgm").write_bytes(b"P5 %d %d 255\n" % (int(width), int(height)) + bytes(600))

    def worker() -> spawned_worker[str, str]:
        return spawned_worker([exiftool, "-stay_open", "True", "-@", "-"], open=open_stream, execute=image_size)

    async with WorkPool(worker, max_size=2) as pool:
        pictures = [str(tmp_path / f"{size}.pgm") for size in sizes]
        async with pool.stream(pictures, ordered=True) as outcomes:
            assert [outcome.unwrap() async for outcome in outcomes] == sizes
        assert await pool.execute(str(tmp_path / "none.pgm")) == "{ready}"
        assert pool.statistics().started <= 2


async def until(engine: ChildStream[str], word: str) -> str:
    while not (line := await engine.receive()).startswith(word):
        pass
    return line


async def start_chess(engine: ChildStream[str]) -> None:
    await engine.send("uci")
    await until(engine, "uciok")


async def mate_in(engine: ChildStream[str], position: str) -> str:
    await engine.send(f"position fen {position}")
    await engine.send("go depth 6")
    return (await until(engine, "bestmove")).split()[1]


async def new_game(engine: ChildStream[str]) -> None:
    await engine.send("ucinewgame")
    await engine.send("isready")
    await until(engine, "readyok")


async def test_chess_engines_are_warm_and_reset_between_positions() -> None:
    stockfish = program("stockfish")

    def worker() -> spawned_worker[str, str]:
        return spawned_worker(stockfish, open=open_stream, init=start_chess, execute=mate_in, release=new_game)

    async with WorkPool(worker, max_size=2) as pool:
        positions = ["6k1/5ppp/8/8/8/8/5PPP/4R1K1 w - - 0 1", "k7/8/1K6/8/8/8/8/7N b - - 0 1"] * 4
        async with pool.stream(positions, ordered=True) as outcomes:
            assert [outcome.unwrap() async for outcome in outcomes] == ["e1e8", "a8b8"] * 4


# --- ContentLength: a language server


Server = ChildStream[Any]
numbers = itertools.count()
CLIENT = {"processId": None, "rootUri": None, "capabilities": {}}


async def ask(server: Server, method: str, params: Any) -> Any:
    await server.send({"jsonrpc": "2.0", "id": method, "method": method, "params": params})
    while (message := await server.receive()).get("id") != method:
        pass
    return message["result"]


async def initialize(server: Server) -> None:
    assert "capabilities" in await ask(server, "initialize", CLIENT)
    await server.send({"jsonrpc": "2.0", "method": "initialized", "params": {}})


async def diagnose(server: Server, text: str) -> list[str]:
    """Open a document of its own name (a closed one is published once more, when the next is open already)."""
    document = {"uri": f"file:///{next(numbers)}/Dockerfile", "languageId": "dockerfile", "version": 1, "text": text}
    await server.send({"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"textDocument": document}})
    while (message := await server.receive()).get("params", {}).get("uri") != document["uri"]:
        pass
    closing = {"textDocument": {"uri": document["uri"]}}
    await server.send({"jsonrpc": "2.0", "method": "textDocument/didClose", "params": closing})
    return [finding["message"] for finding in message["params"]["diagnostics"]]


async def say_goodbye(server: Server) -> None:
    assert await ask(server, "shutdown", None) is None
    await server.send({"jsonrpc": "2.0", "method": "exit"})


@pytest.fixture
def language_server(node_modules: Path):
    command = ["node", str(node_modules / "dockerfile-language-server-nodejs/bin/docker-langserver"), "--stdio"]
    return lambda: spawned_worker(
        command,
        open=open_stream,
        codec=ContentLength(),
        init=initialize,
        execute=diagnose,
        destroy=say_goodbye,
    )


@pytest.mark.node
async def test_language_servers_diagnose_documents_and_leave_as_they_are_asked(language_server: Any) -> None:
    texts = ["FROM alpine\n", *(f"FROM alpine\nBAD{number} x\n" for number in range(12))]
    async with WorkPool(language_server, max_size=2) as pool:
        async with pool.stream(texts, ordered=True) as outcomes:
            clean, *found = [outcome.unwrap() async for outcome in outcomes]
    assert clean == []
    assert all(f"BAD{number}" in " ".join(messages) for number, messages in enumerate(found))


@pytest.mark.node
@pytest.mark.fault(15)
@pytest.mark.fault(35)
async def test_a_language_server_that_is_killed_costs_the_document_it_had(language_server: Any) -> None:
    async def diagnose_or_die(server: Server, text: str) -> list[str]:
        if text == "kill":
            os.kill(server.pid, signal.SIGKILL)
        return await diagnose(server, text)

    def worker() -> Any:
        made = language_server()
        made._execute = diagnose_or_die
        return made

    async with WorkPool(worker, max_size=1) as pool:
        async with pool.stream(["FRUM a\n", "kill", "FRUM b\n"], ordered=True) as outcomes:
            first, killed, third = [outcome async for outcome in outcomes]
    assert "FRUM" in str(first.unwrap())
    assert "FRUM" in str(third.unwrap())
    assert isinstance(killed, Failure)
    assert isinstance(killed.error, WorkerDied)
    assert isinstance(killed.error.__cause__, ChannelClosed)
    assert killed.error.signal == signal.SIGKILL


# --- JsonLines: an MCP server


@pytest.mark.node
async def test_mcp_servers_answer_calls(node_modules: Path) -> None:
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}

    async def begin(server: Server) -> None:
        await ask(server, "initialize", client)
        await server.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def echo(server: Server, text: str) -> str:
        answer = await ask(server, "tools/call", {"name": "echo", "arguments": {"message": text}})
        return answer["content"][0]["text"]

    def worker() -> spawned_worker[str, str]:
        command = ["node", str(node_modules / "@modelcontextprotocol/server-everything/dist/index.js")]
        return spawned_worker(command, open=open_stream, codec=JsonLines(), init=begin, execute=echo, stderr="capture")

    async with WorkPool(worker, max_size=2) as pool:
        async with pool.stream([f"é\u2028{number}" for number in range(20)], ordered=True) as outcomes:
            assert [outcome.unwrap() async for outcome in outcomes] == [f"Echo: é\u2028{n}" for n in range(20)]
