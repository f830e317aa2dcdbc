"""What a program is told and what it may be: its command, its surroundings, what it speaks, how it is seen."""

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from worker_ipc import ChildStream, open_stream
from worker_ipc.codecs import Codec, ContentLength, JsonLines, TextLines
from worker_pool import WorkPool
from worker_spawn import SpawnedWorker, WorkerDied, function_worker, spawned_worker
from worker_spawn._command import argv, title

TALKER = Path(__file__).with_name("talker.py")


async def ask(channel: Any, text: str) -> str:
    reply = channel.listen_once("response")
    await channel.send("request", {"data": text})
    return (await reply)["data"]


def talker(**options: Any) -> spawned_worker[Any, Any]:
    return spawned_worker(TALKER, init=lambda channel: channel.listen_once("ready"), **{"execute": ask, **options})


# --- The command


def test_a_command_is_one_program_and_is_never_split() -> None:
    assert argv("my program; rm -rf") == ["my program; rm -rf"]
    assert argv(["echo", Path("a b")]) == ["echo", "a b"]
    assert argv(("bc", "-l")) == ["bc", "-l"]


def test_a_script_is_run_by_what_it_is_written_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert argv("double.py") == [sys.executable, "double.py"]
    assert argv(["double.py", "-v"]) == [sys.executable, "double.py", "-v"]
    for script in ("double.js", "double.mjs", "double.cjs"):
        assert argv([script, "-v"]) == [str(node), script, "-v"]


def test_an_empty_command_is_refused() -> None:
    with pytest.raises(ValueError, match="must name a program"):
        spawned_worker([], execute="double")


def test_a_title_is_short_and_without_folders() -> None:
    assert title(["/usr/bin/bc", "-l"]) == "bc -l"
    assert title([sys.executable, "/home/me/double.py", "-v"]) == "double.py -v"
    assert len(title(["bc", "x" * 1000])) == 80


# --- Its surroundings


@pytest.mark.anyio
async def test_the_directory_the_environment_and_stdio_are_as_they_were_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "show.py"
    program.write_text(
        "import os, sys\n"
        "from worker_ipc.blocking import open_parent\n"
        "def show(_):\n"
        "    print('to stdout', flush=True)\n"
        "    return [os.getcwd(), os.environ.get('COLOUR'), os.environ.get('SECRET'), sys.stdin.read(), sys.argv[1:]]\n"
        "with open_parent() as channel:\n"
        "    channel.serve({'show': show})\n"
    )
    os.environ["SECRET"] = "inherited"
    try:
        given = {"cwd": tmp_path, "env": {"COLOUR": "red"}, "inherit_env": ["PATH"], "stdout": "devnull"}
        async with spawned_worker[None, list[Any]]([program, "-v"], execute="show", **given) as worker:
            assert await worker.execute(None) == [str(tmp_path), "red", None, "", ["-v"]]
        async with spawned_worker[None, list[Any]](program, execute="show") as worker:
            assert await worker.execute(None) == [os.getcwd(), None, "inherited", "", []]
    finally:
        del os.environ["SECRET"]
    assert capfd.readouterr().out == "to stdout\n"  # of the second one


# --- What it speaks

ECHO_LINES = "for line in sys.stdin.buffer: os.write(1, line + b'\"extra\"\\n')"
ECHO_FRAMES = """
while head := sys.stdin.buffer.readline():
    sys.stdin.buffer.readline()
    body = sys.stdin.buffer.read(int(head.split()[1]))
    os.write(1, head + b"\\r\\n" + body + b'Content-Length: 7\\r\\n\\r\\n"extra"')
"""

speaking = pytest.mark.parametrize(
    ("program", "codec", "messages"),
    [
        pytest.param(ECHO_LINES, TextLines(), ["a", "é\u2028", ""], id="lines"),
        pytest.param(ECHO_LINES, JsonLines(), [{"a": [1, None]}, "\n", 2**53], id="JSON lines"),
        pytest.param(ECHO_FRAMES, ContentLength(), [{"a": [1, None]}, "\r\n\r\n", 1.5], id="frames"),
    ],
)


@pytest.mark.anyio
@speaking
async def test_programs_on_stdio_are_workers_and_what_nobody_read_is_not_the_next_ones(
    program: str, codec: Codec[Any], messages: list[Any]
) -> None:
    """After each answer, in the same write, the program says something that nobody asked for."""

    async def echo(stream: ChildStream[Any], message: Any) -> Any:
        await stream.send(message)
        return await stream.receive()

    def worker() -> spawned_worker[Any, Any]:
        command = [sys.executable, "-c", f"import os, sys\n{program}"]
        return spawned_worker(command, open=open_stream, codec=codec, execute=echo)

    async with WorkPool(worker, max_size=1) as pool, pool.stream(messages * 3, ordered=True) as outcomes:
        assert [outcome.unwrap() async for outcome in outcomes] == messages * 3


# --- How it is seen


@pytest.mark.anyio
async def test_one_line_is_logged_for_each_start_and_each_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "worker_spawn")
    async with talker() as spawned, function_worker("functions:double") as called:
        pass
    lines = [record.getMessage() for record in caplog.records if record.name == "worker_spawn"]
    assert lines == [
        f"worker talker.py [{spawned.pid}] started",
        f"worker double [{called.pid}] started",
        f"worker double [{called.pid}] ended",
        f"worker talker.py [{spawned.pid}] ended",
    ]


@pytest.mark.anyio
@pytest.mark.skipif(not os.path.exists("/proc/self/comm"), reason="no /proc: nothing shows the title")
async def test_a_child_carries_a_readable_title() -> None:
    async with talker() as spawned, function_worker("functions:double") as called:
        assert Path(f"/proc/{called.pid}/comm").read_text() == "double\n"
        for worker, word in ((called, b"functions:double"), (spawned, b"talker.py")):
            assert word in Path(f"/proc/{worker.pid}/cmdline").read_bytes()


@pytest.mark.anyio
async def test_what_a_function_prints_and_logs_bears_its_workers_name(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with function_worker("functions:speak") as worker:
        assert await worker.execute("one\ntwo") == "one\ntwo"
    printed = capfd.readouterr()
    assert printed.out == f"[speak-{worker.pid}] one\n[speak-{worker.pid}] two\n"
    assert printed.err == f"[speak-{worker.pid}] to stderr\n"
    (record,) = [record for record in caplog.records if record.name == "of.the.function"]
    assert (record.levelno, record.getMessage()) == (logging.WARNING, f"[{worker.id}] careful: one\ntwo")
    assert record.worker == worker.id  # type: ignore[attr-defined]


# --- Between inputs


@pytest.mark.anyio
@pytest.mark.fault(42)
async def test_a_child_that_has_grown_is_retired() -> None:
    async with WorkPool(
        lambda: function_worker("functions:grow"), max_size=1, retire=lambda worker: worker.rss > 80 * 2**20
    ) as pool:
        sizes = [await pool.execute(10 * 2**20) for _ in range(20)]
        assert sizes[0] == 1
        assert max(sizes) < 10  # tens of megabytes: it was replaced before it held them all
        assert pool.statistics().failed == 0


@pytest.mark.anyio
@pytest.mark.fault(38)
@pytest.mark.parametrize("execute", [ask, "double"], ids=["conversation", "request"])
async def test_the_death_of_an_idle_child_is_unseen(execute: Any) -> None:
    workers: list[SpawnedWorker[Any, Any]] = []

    @asynccontextmanager
    async def remembered() -> AsyncIterator[SpawnedWorker[Any, Any]]:
        async with talker(execute=execute) as worker:
            workers.append(worker)
            yield worker

    async with WorkPool(remembered, max_size=1) as pool:
        for text in "abc":
            assert await pool.execute(text) == text * 2
            os.kill(workers[-1].pid, signal.SIGKILL)
            with anyio.fail_after(10):
                while workers[-1].active:  # its death is not known before the loop has turned
                    await anyio.lowlevel.checkpoint()
    assert len(workers) == 3


@pytest.mark.anyio
@pytest.mark.fault(27)
async def test_a_reply_written_in_full_before_death_is_a_result() -> None:
    for _ in range(3):
        async with talker(stderr="capture") as worker:
            assert await worker.execute("last") == "lastlast"
            with pytest.raises(WorkerDied):
                await worker.execute("a")


# --- Where a program makes its pool


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_pool_can_be_made_before_there_is_an_event_loop(backend: str) -> None:
    pool = WorkPool(lambda: function_worker("functions:double"), max_size=2)

    async def main() -> list[int]:
        async with pool, pool.stream(range(10), ordered=True) as outcomes:
            return [outcome.unwrap() async for outcome in outcomes]

    assert anyio.run(main, backend=backend) == [2 * number for number in range(10)]
