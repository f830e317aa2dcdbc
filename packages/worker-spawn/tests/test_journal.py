"""The account of a death: what the journal of a function child tells its parent."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from worker_ipc import ChannelClosed, MessageTooLarge, Overrun, ProtocolError
from worker_ipc.codecs import JsonLines
from worker_pool import Failure, NotStarted, Success
from worker_spawn import WorkerDied, _journal, function_worker
from worker_spawn._function_calls import FunctionCalls
from worker_spawn._journal import BEGUN, HEADER, HELD, SIZE, WRITTEN, Journal, address, attach, create
from worker_spawn._settling import Telling


class Child:
    """One that takes inputs, and whose journal the test writes."""

    pid = 1
    active = True

    def post(self, inputs: Any) -> None:
        """Take them."""


def told(begun: int, written: int, held: list[Any], read: list[Any]) -> list[Any]:
    """Return what becomes of three inputs: `read` came by the channel, and then the child is dead."""
    fd = create()
    assert fd is not None
    journal = Journal(fd)
    os.close(fd)
    data = b"".join(map(JsonLines().encode, held))
    journal.buffer[: len(data)] = data
    journal.words[BEGUN], journal.words[WRITTEN], journal.words[HELD] = begun, written, len(data)
    outcomes = accounted(journal, read, ChannelClosed("gone", pid=1))
    journal.close()
    return outcomes


def accounted(journal: Journal | None, read: list[Any], error: ChannelClosed) -> list[Any]:
    """Return what becomes of three inputs: `read` came by the channel, which then ended with `error`."""
    child = Child()
    calls: FunctionCalls[str, str] = FunctionCalls("function", child, JsonLines(), journal)  # type: ignore[arg-type]
    outcomes: dict[str, Any] = {}
    for input in "abc":
        calls.submit([input], Telling(input, partial(outcomes.__setitem__, input)))
    calls.received([read])
    calls.closed(error)
    return [outcome for _, outcome in sorted(outcomes.items())]


ERROR = {"type": "builtins.ValueError", "message": "no", "traceback": "..."}


def test_what_it_held_is_not_lost_and_what_it_had_not_begun_runs_elsewhere() -> None:
    first, second, third = told(2, 0, [["A"]], [])
    assert isinstance(first, Success)
    assert first.result == "A"
    assert isinstance(second, Failure)
    assert isinstance(second.error, WorkerDied)
    assert isinstance(third, NotStarted)


def test_what_was_written_and_not_noted_as_such_is_not_told_twice() -> None:
    first, second, third = told(2, 0, [["A"], ERROR], [["A"], ERROR])
    assert isinstance(first, Success)
    assert isinstance(second, Failure)
    assert second.error.type == "builtins.ValueError"
    assert isinstance(third, NotStarted)


def test_its_greeting_and_its_logs_are_no_answers() -> None:
    """It was killed between the write of its greeting and the note that it was written."""
    held = [{"logger": "name", "level": 30, "text": "text"}, {"ready": True}]
    assert [type(outcome) for outcome in told(0, 0, held, [])] == [NotStarted, NotStarted, NotStarted]


def test_without_a_journal_a_dead_child_has_begun_one_that_it_did_not_answer() -> None:
    """It wrote each answer through, and what a dead child wrote has been read."""
    first, second, third = accounted(None, [["A"]], ChannelClosed("killed", pid=1, returncode=-9))
    assert isinstance(first, Success)
    assert isinstance(second, Failure)
    assert isinstance(third, NotStarted)


@pytest.mark.parametrize(
    "error",
    [ProtocolError("not JSON"), MessageTooLarge("no"), Overrun("flood"), ChannelClosed("closed here, and it lives")],
    ids=lambda error: type(error).__name__,
)
def test_without_a_journal_a_child_that_was_not_heard_out_may_have_begun_all(error: ChannelClosed) -> None:
    first, *others = accounted(None, [["A"]], error)
    assert isinstance(first, Success)
    assert [type(outcome) for outcome in others] == [Failure, Failure]


@pytest.fixture
def memory() -> Iterator[int]:
    fd = create()
    assert fd is not None
    yield fd
    os.close(fd)


def test_the_memory_is_found_by_its_address(memory: int) -> None:
    ours, its = Journal(memory), attach(address(memory))
    assert its is not None
    its.words[BEGUN] = 7
    assert ours.words[BEGUN] == 7
    ours.close()
    its.close()


def test_other_memory_behind_the_same_number_is_not_taken_for_it(memory: int) -> None:
    where = address(memory)
    other = create()
    assert other is not None
    os.dup2(other, memory, inheritable=False)
    os.close(other)
    assert attach(where) is None


@pytest.mark.parametrize("where", ["", "/proc/0/fd/0 1:1", "/proc"])
def test_where_there_is_no_memory_there_is_no_journal(where: str) -> None:
    assert attach(where) is None


@pytest.mark.anyio
async def test_a_file_that_a_foreign_pid_leads_to_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where /proc is that of another pid namespace, and a stranger there has our parent's pid."""
    path = tmp_path / "innocent"
    path.write_bytes(b"D" * (HEADER + SIZE))
    with path.open("r+b") as file:
        elsewhere = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        tell = _journal.address
        monkeypatch.setattr(_journal, "address", lambda fd: f"{elsewhere} {tell(fd).partition(' ')[2]}")
        async with function_worker("functions:double") as worker:
            assert await worker.execute("a-") == "a-a-"
    assert path.read_bytes() == b"D" * (HEADER + SIZE)
