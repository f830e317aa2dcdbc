"""What a program is told in a wrong way is refused by name, before there is a child."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from worker_ipc import open_child, open_stream
from worker_ipc.codecs import JsonLines
from worker_spawn import FunctionError, WorkerDied, spawned_worker

TALKER = Path(__file__).with_name("talker.py")


async def ask(channel: Any, text: str) -> str:
    reply = channel.listen_once("response")
    await channel.send("request", {"data": text})
    return (await reply)["data"]


# --- The command


@pytest.mark.parametrize("command", [None, 7, b"bc", bytearray(b"bc"), (word for word in ["bc"]), {"bc"}, {"bc": 1}])
def test_a_command_is_a_program_or_a_list(command: Any) -> None:
    with pytest.raises(TypeError, match=r"^command must be a program, or a list of a program and its arguments, got "):
        spawned_worker(command, execute="double")


@pytest.mark.parametrize("command", [["bc", 7], [None], ["bc", b"-l"], [["bc"]]])
def test_a_command_is_made_of_strings_and_paths(command: Any) -> None:
    with pytest.raises(TypeError, match=r"^command must be made of strings and paths, got "):
        spawned_worker(command, execute="double")


@pytest.mark.parametrize("command", ["", [], [""], ["", "-l"]])
def test_an_empty_program_is_none(command: Any) -> None:
    with pytest.raises(ValueError, match=r"^command must name a program, got "):
        spawned_worker(command, execute="double")


# --- Functions


@pytest.mark.parametrize("wrong", [None, 42, b"double", ["double"]])
def test_execute_is_a_function_or_a_name(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^execute must be an async function or the name of a method, got "):
        spawned_worker(TALKER, execute=wrong)


def test_a_method_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^execute must be an async function or the name of a method, got ''$"):
        spawned_worker(TALKER, execute="")


@pytest.mark.parametrize("hook", ["init", "release", "destroy"])
@pytest.mark.parametrize("wrong", ["ready", 7, False])
def test_a_hook_is_a_function(hook: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{hook} must be an async function of the channel, got {wrong!r}$"):
        spawned_worker(TALKER, execute="double", **{hook: wrong})


@pytest.mark.parametrize("wrong", [None, "open_child", 7])
def test_open_is_a_function(wrong: Any) -> None:
    with pytest.raises(TypeError, match=rf"^open must be a function such as open_child or open_stream, got {wrong!r}$"):
        spawned_worker(TALKER, execute=ask, open=wrong)


# --- What is handed on

WRONG: list[tuple[str, Any, str]] = [
    ("cwd", 7, "a path"),
    ("cwd", b"/", "a path"),
    ("env", [("A", "b")], "a mapping of names to values"),
    ("env", "A=b", "a mapping of names to values"),
    ("codec", JsonLines, r"a codec, such as JsonLines\(\)"),
    ("codec", "utf-8", r"a codec, such as JsonLines\(\)"),
]
every_wrong_option = pytest.mark.parametrize(("option", "wrong", "rule"), WRONG)


@every_wrong_option
@pytest.mark.parametrize("open", [open_child, open_stream])
def test_an_option_of_a_wrong_kind_is_named(open: Any, option: str, wrong: Any, rule: str) -> None:
    with pytest.raises(TypeError, match=rf"^{option} must be {rule}, got "):
        spawned_worker(TALKER, execute=ask, open=open, **{option: wrong})


@asynccontextmanager
async def elsewhere(command: list[str], *, cwd: Any = None, env: Any = None, codec: Any = None) -> AsyncIterator[Any]:
    """Take options of its own kinds."""
    async with open_child(command) as channel:
        yield channel


@pytest.mark.anyio
@every_wrong_option
async def test_another_open_has_options_of_its_own(option: str, wrong: Any, rule: str) -> None:
    async with spawned_worker(TALKER, execute=ask, open=elsewhere, **{option: wrong}) as worker:
        assert await worker.execute("a") == "aa"


@pytest.mark.parametrize("open", [open_child, open_stream, elsewhere])
def test_a_transcript_does_not_hide_what_is_no_codec(open: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^codec must be a codec, such as JsonLines\(\), got 'utf-8'$"):
        spawned_worker(TALKER, execute=ask, open=open, codec="utf-8", transcript=tmp_path / "talk.log")


@pytest.mark.anyio
@pytest.mark.parametrize("codec", [None, JsonLines()])
async def test_a_transcript_of_an_open_with_options_speaks_what_that_speaks(codec: Any, tmp_path: Path) -> None:
    path, open = tmp_path / "talk.log", partial(partial(open_child, codec=codec), mailbox=10)
    async with spawned_worker(TALKER, execute=ask, open=open, transcript=path) as worker:
        assert await worker.execute("a") == "aa"
    assert '"aa"' in path.read_text()


def test_a_transcript_of_an_open_of_the_users_needs_a_codec(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"transcript needs a codec, as nobody knows what .* speaks"):
        spawned_worker(TALKER, execute=ask, open=elsewhere, transcript=tmp_path / "talk.log")


@pytest.mark.parametrize("wrong", [True, 1, b"talk.log"])
def test_a_transcript_is_named_by_a_path(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^transcript must be the path of a file, got "):
        spawned_worker(TALKER, execute=ask, transcript=wrong)


@pytest.mark.anyio
async def test_a_descriptor_is_not_taken_from_its_owner_for_a_transcript(tmp_path: Path) -> None:
    with (tmp_path / "mine.log").open("wb", buffering=0) as file:
        number: Any = file.fileno()
        with suppress(TypeError):
            async with spawned_worker(TALKER, execute=ask, transcript=number) as worker:
                await worker.execute("a")
        file.write(b"mine")  # it is open
    assert (tmp_path / "mine.log").read_bytes() == b"mine"


# --- keep_after


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [list, set, iter, lambda classes: (one for one in classes)])
async def test_the_classes_of_keep_after_may_come_in_any_iterable(kind: Any) -> None:
    async def picky(channel: Any, text: str) -> str:
        if text == "no":
            raise KeyError(text)
        if text == "never":
            raise ValueError(text)
        return await ask(channel, text)

    async with spawned_worker(TALKER, execute=picky, keep_after=kind([KeyError, OSError])) as worker:
        for _ in range(2):
            with pytest.raises(KeyError):
                await worker.execute("no")
            assert worker.active
        assert await worker.execute("a") == "aa"
        with pytest.raises(ValueError, match="never"):
            await worker.execute("never")
        assert not worker.active


@pytest.mark.parametrize(
    "wrong", ["KeyError", KeyError("a"), KeyboardInterrupt, BaseException, None, 7, [KeyError, "OSError"], int]
)
def test_keep_after_is_of_exception_classes(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^keep_after must be a subclass of Exception, or an iterable of them, got "):
        spawned_worker(TALKER, execute=ask, keep_after=wrong)


def test_a_traceback_names_an_error_as_it_is_imported() -> None:
    assert {error.__module__ for error in (WorkerDied, FunctionError)} == {"worker_spawn"}
