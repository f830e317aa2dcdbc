"""Every public exception survives pickle and copy: a process pool, a task queue or a test runner hands it on."""

import copy
import pickle

import pytest

import worker_ipc
from worker_ipc import ChannelClosed, MessageTooLarge, Overrun, ProtocolError, RemoteError, SpawnError


def with_evidence(kind):
    error = kind("why", pid=7, returncode=-9, stderr="first\nlast\n", truncated=3)
    error.unread = 2
    if isinstance(error, ProtocolError):
        error.received = ({"type": "x"},)
    return error


ERRORS = [
    *map(with_evidence, [ChannelClosed, Overrun, ProtocolError, MessageTooLarge]),
    RemoteError(42, "mine", {"a": [1]}),
    SpawnError(("no", "such"), FileNotFoundError(2, "No such file or directory", "no")),
    worker_ipc.WorkerIpcError("text"),
    worker_ipc.NoChannel("text"),
    worker_ipc.EncodeError("text"),
    worker_ipc.WouldBlock("text"),
]


def test_every_public_exception_is_looked_at():
    public = {value for value in vars(worker_ipc).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert {type(error) for error in ERRORS} == public


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_it_is_the_same_afterwards(error, again):
    error.add_note("a note")
    other = again(error)
    assert (type(other), str(other), vars(other), other.args) == (type(error), str(error), vars(error), error.args)
    if isinstance(error, SpawnError):
        assert (other.errno, other.strerror, other.filename) == (2, "No such file or directory", "no")


def test_the_end_of_a_channel_says_which_process_and_its_last_words():
    error = with_evidence(ChannelClosed)
    assert str(error) == "why (pid 7); its last words: last"
    assert str(ChannelClosed("why")) == "why"
