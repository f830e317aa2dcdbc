"""A program is a worker: one conversation or one request per input, and never a mix-up."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from worker_ipc import EncodeError, ParentChannel, SpawnError, open_child, open_stream
from worker_ipc.codecs import TextLines
from worker_pool import Failure, PoolBroken, Success, WorkPool
from worker_spawn import WorkerDied, function_worker, spawned_worker
from worker_spawn._command import check_script

pytestmark = pytest.mark.anyio

TALKER = Path(__file__).with_name("talker.py")


async def ask(channel, text):
    reply = channel.listen_once("response")
    await channel.send("request", {"data": text})
    return (await reply)["data"]


def talker(**options):
    return spawned_worker(TALKER, init=lambda channel: channel.listen_once("ready"), **{"execute": ask, **options})


def talker_of(command):
    return spawned_worker(command, init=lambda channel: channel.listen_once("ready"), execute=ask)


async def test_a_conversation_alone() -> None:
    async with talker() as worker:
        assert await worker.execute("a-") == "a-a-"
        assert worker.active
        assert worker.rss > 1_000_000
        assert str(worker.pid) in worker.id
    assert not worker.active


async def test_the_next_conversation_begins_with_an_empty_mailbox() -> None:
    async def ask_and_look(channel, text):
        assert channel.statistics().kept == 0
        return await ask(channel, text)

    async with talker(execute=ask_and_look) as worker:
        for text in "abc":
            assert await worker.execute(text) == text * 2


async def test_leaving_a_conversation_withdraws_what_it_registered() -> None:
    heard = []

    async def once(channel, text):
        if text == "first":
            channel.listen_for("extra", heard.append)
            channel.listen_once("never")
        result = await ask(channel, text)
        await ask(channel, text)  # so that the first "extra" has been received
        return result

    async with talker(execute=once) as worker:
        await worker.execute("first")
        before = len(heard)
        await worker.execute("second")
        assert len(heard) == before


@pytest.mark.fault(15)
async def test_a_killed_child_is_worker_died_with_the_evidence() -> None:
    async with talker() as worker:
        with pytest.raises(WorkerDied, match="killed by SIGKILL during execute") as caught:
            await worker.execute("kill")
        assert caught.value.signal == signal.SIGKILL
        assert caught.value.phase == "execute"
        assert "last words" in caught.value.stderr
        assert caught.value.pid == worker.pid
        assert not worker.active


@pytest.mark.fault(16)
async def test_exit_status_zero_is_no_excuse() -> None:
    async with talker() as worker:
        with pytest.raises(WorkerDied) as caught:
            await worker.execute("exit")
        assert caught.value.returncode == 0


@pytest.mark.fault(35)
async def test_a_death_costs_one_input_and_the_pool_goes_on() -> None:
    async with WorkPool(talker, max_size=2) as pool, pool.stream([*"abc", "kill", *"def"]) as outcomes:
        ended = [outcome async for outcome in outcomes]
    assert sorted(o.result for o in ended if isinstance(o, Success)) == ["aa", "bb", "cc", "dd", "ee", "ff"]
    (failure,) = [o for o in ended if isinstance(o, Failure)]
    assert failure.input == "kill"
    assert isinstance(failure.error, WorkerDied)


@pytest.mark.fault(1)
async def test_a_missing_command_is_a_spawn_error() -> None:
    with pytest.raises(SpawnError, match="no-such-program"):
        async with spawned_worker("no-such-program", execute=ask):
            pass


@pytest.mark.fault(3)
async def test_a_child_that_exits_before_ready_breaks_the_pool_with_the_cause() -> None:
    with pytest.raises(PoolBroken) as caught:
        async with WorkPool(lambda: talker_of("/bin/true")) as pool:
            await pool.execute("a")
    assert isinstance(caught.value.__cause__, WorkerDied)
    assert caught.value.__cause__.phase == "init"
    assert f"the last error: WorkerDied: {caught.value.__cause__}" in str(caught.value)


async def test_a_hook_that_raises_what_has_no_text_breaks_the_pool_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    async def fail(channel):
        raise Mute

    with pytest.raises(PoolBroken, match=r"the last error: Mute$"):
        async with WorkPool(lambda: spawned_worker(TALKER, init=fail, execute=ask)) as pool:
            await pool.execute("a")


@pytest.mark.fault(44)
async def test_a_cancelled_conversation_leaves_its_worker_in_doubt() -> None:
    async with talker() as worker:
        with anyio.move_on_after(0.05):
            await worker.execute("silence")
        assert not worker.active


async def test_what_was_never_sent_leaves_no_doubt() -> None:
    async with talker() as worker:
        with pytest.raises(EncodeError):
            await worker.execute(float("nan"))
        assert worker.active
        assert await worker.execute("a") == "aa"


async def test_an_error_named_by_keep_after_leaves_no_doubt() -> None:
    async def picky(channel, text):
        if text == "no":
            raise KeyError(text)
        return await ask(channel, text)

    async with talker(execute=picky, keep_after=KeyError) as worker:
        with pytest.raises(KeyError):
            await worker.execute("no")
        assert worker.active
    async with talker(execute=picky) as worker:
        with pytest.raises(KeyError):
            await worker.execute("no")
        assert not worker.active


@pytest.mark.fault(15)
async def test_a_death_is_told_as_one_whatever_may_be_kept_after() -> None:
    async with talker(keep_after=Exception) as worker:
        with pytest.raises(WorkerDied, match="SIGKILL during execute") as caught:
            await worker.execute("kill")
    assert caught.value.phase == "execute"
    assert "last words" in caught.value.stderr


@pytest.mark.fault(44)
async def test_conversations_that_would_overlap_are_refused_and_never_mixed_up() -> None:
    async with WorkPool(talker, max_size=1, concurrency=3) as pool, pool.stream(map(str, range(30))) as outcomes:
        ended = [outcome async for outcome in outcomes]
    results = {outcome.input: outcome.result for outcome in ended if isinstance(outcome, Success)}
    assert results
    assert results == {text: text * 2 for text in results}
    for outcome in ended:
        if isinstance(outcome, Failure):
            with pytest.raises(RuntimeError, match="one at a time: make the pool with concurrency=1"):
                outcome.unwrap()


async def test_requests_overlap_and_each_gets_its_own_reply() -> None:
    async with WorkPool(lambda: talker(execute="double"), max_size=2, concurrency=8) as pool:
        async with pool.stream(range(500), ordered=True) as outcomes:
            assert [outcome.unwrap() async for outcome in outcomes] == [2 * n for n in range(500)]


async def test_a_request_that_kills_is_worker_died() -> None:
    async with WorkPool(lambda: talker(execute="misbehave"), max_size=1) as pool:
        with pytest.raises(WorkerDied):
            await pool.execute("kill")
        assert await pool.execute("nothing") is None


@pytest.mark.parametrize("execute", [ask, "double"], ids=["conversation", "request"])
async def test_hooks_are_awaited_with_the_channel(execute: Any) -> None:
    heard = []

    async def note(channel):
        heard.append(channel.pid)

    async with WorkPool(lambda: talker(execute=execute, release=note, destroy=note), max_size=1) as pool:
        await pool.execute("a")
        await pool.execute("b")
    assert len(heard) == 3


async def test_a_typo_in_an_option_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match="cwdd"):
        talker(cwdd="/")


async def test_a_transcript_shows_both_directions(tmp_path: Path) -> None:
    path = tmp_path / "talk.log"
    async with talker(transcript=path) as worker:
        await worker.execute("a-")
    lines = [line.split(" ", 1)[1] for line in path.read_text().splitlines()]
    assert '> {"type":"request","data":"a-"}' in lines
    assert '< {"type":"response","data":"a-a-"}' in lines


@pytest.mark.parametrize("hook", ["init", "release", "destroy"])
async def test_a_hook_that_is_not_async_is_named(hook: str) -> None:
    hooks: dict[str, Any] = {hook: lambda channel: "done"}
    with pytest.raises((TypeError, ExceptionGroup)) as caught:
        async with spawned_worker(TALKER, execute="double", **hooks) as worker:
            assert await worker.execute(1) == 2
            if hook == "release":
                await worker.release()  # type: ignore[attr-defined]
    assert f"{hook} must be an async function of the channel" in repr(caught.value)


async def test_an_execute_that_is_not_async_is_named() -> None:
    async with spawned_worker(TALKER, execute=lambda channel, value: value) as worker:  # type: ignore[misc,arg-type,return-value]
        with pytest.raises(TypeError, match="execute must be async; a blocking function is for function_worker"):
            await worker.execute(1)


async def test_who_forgets_to_enter_is_told() -> None:
    for description in (spawned_worker(TALKER, execute="double"), function_worker("math:sqrt")):
        assert not hasattr(description, "execute")
        with pytest.raises(AttributeError, match=r"enter it first, async with \w+_worker\(\.\.\.\) as worker"):
            description.execute(1)  # type: ignore[union-attr,attr-defined]
        with pytest.raises(AttributeError, match="has no attribute 'exekute'"):
            description.exekute(1)  # type: ignore[union-attr,attr-defined]


@pytest.mark.parametrize("command", ["python -V", "python double.py"])
async def test_a_command_line_in_one_string_is_told_from_a_program(command: str) -> None:
    with pytest.raises(SpawnError) as caught:
        async with spawned_worker(command, execute="double"):
            pass
    assert "arguments go into a list" in caught.value.__notes__[0]


@pytest.mark.fault(1)
@pytest.mark.parametrize("script", ["missing.py", "missing.js", "missing.mjs", "missing.cjs"])
async def test_a_missing_script_is_a_spawn_error_and_no_interpreter_that_dies_of_it(
    script: str, tmp_path: Path
) -> None:
    for options in ({}, {"cwd": tmp_path}):
        with pytest.raises(SpawnError, match="No such file or directory") as caught:
            async with spawned_worker([script, "-v"], execute="double", **options):
                raise AssertionError("not reached")
        assert caught.value.filename == script


async def test_a_script_is_looked_for_in_the_folder_of_its_child(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_bytes(TALKER.read_bytes())
    async with spawned_worker("mine.py", execute="double", cwd=tmp_path) as worker:
        assert await worker.execute("a") == "aa"


def test_a_missing_folder_is_not_called_a_missing_script() -> None:
    """What is wrong with it, the operating system says."""
    check_script("missing.py", "/no/such/folder")


async def test_a_script_for_another_machine_is_not_looked_for_here() -> None:
    @asynccontextmanager
    async def elsewhere(command: list[str]) -> AsyncIterator[ParentChannel]:
        async with open_child([sys.executable, TALKER]) as channel:
            yield channel

    async with spawned_worker("/there/talker.py", execute="double", open=elsewhere) as worker:  # type: ignore[call-overload]
        assert await worker.execute("a") == "aa"


def test_a_request_needs_a_channel() -> None:
    with pytest.raises(ValueError, match="open=open_child"):
        spawned_worker(TALKER, execute="double", open=open_stream)  # type: ignore[call-overload]


async def test_a_transcript_that_cannot_be_written_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"talk\.log"):
        async with talker(transcript=tmp_path / "missing" / "talk.log"):
            raise AssertionError("not reached")


@pytest.mark.parametrize("execute", [ask, "double"], ids=["conversation", "requests"])
async def test_a_transcript_on_a_full_disk_ends_and_the_conversation_goes_on(
    execute: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with talker(execute=execute, transcript="/dev/full") as worker:
        for text in ("a-", "b-"):
            assert await worker.execute(text) == text * 2
    (warning,) = [one for one in caplog.records if (one.name, one.levelname) == ("worker_spawn", "WARNING")]
    assert warning.name == "worker_spawn"
    assert "transcript in /dev/full ends here" in warning.getMessage()


async def test_a_transcript_shows_what_could_not_be_sent_and_the_conversation_goes_on(tmp_path: Path) -> None:
    code = """
import os
from worker_ipc.blocking import open_parent
fd = int(os.environ["NODE_CHANNEL_FD"])
def note(value):
    os.write(fd, b'{"type":"note","file":"\\\\ud800"}\\n')
    return value
with open_parent() as channel:
    channel.serve({"note": note})
"""
    path = tmp_path / "talk.log"
    async with spawned_worker([sys.executable, "-c", code], execute="note", transcript=path) as worker:
        assert await worker.execute(7) == 7
    assert r"< {'type': 'note', 'file': '\ud800'}" in path.read_text()


async def test_a_codec_that_cannot_write_what_it_reads_has_a_transcript_too(tmp_path: Path) -> None:
    class Shouting(TextLines):
        def encode(self, message: str, /) -> bytes:
            if message.islower():
                raise TypeError("not loud enough")
            return super().encode(message)

    async def shout(stream, text):
        await stream.send(text)
        return await stream.receive()

    path = tmp_path / "talk.log"
    lower = ["sh", "-c", "while read -r line; do echo hey; done"]
    options: dict[str, Any] = {"open": open_stream, "codec": Shouting(), "transcript": path}
    async with spawned_worker(lower, execute=shout, **options) as worker:
        assert await worker.execute("HEY") == "hey"
    assert "< 'hey'" in path.read_text()
