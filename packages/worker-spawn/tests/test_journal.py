"""The account of a death: what the journal of a function child tells its parent."""

import os
from typing import Any

from worker_ipc import ChannelClosed
from worker_ipc.codecs import JsonLines
from worker_pool import Failure, NotStarted, Success
from worker_spawn import WorkerDied
from worker_spawn._function_calls import FunctionCalls
from worker_spawn._journal import BEGUN, HELD, WRITTEN, Journal, create
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
    child = Child()
    calls: FunctionCalls[str, str] = FunctionCalls("function", child, JsonLines(), journal)  # type: ignore[arg-type]
    outcomes: list[Any] = []
    for input in "abc":
        calls.submit([input], Telling(input, outcomes.append))
    calls.received([read])
    calls.closed(ChannelClosed("gone", pid=1))
    journal.close()
    return outcomes


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
