"""Every public exception survives pickle and copy: a process pool, a task queue or a test runner hands it on."""

import copy
import pickle
import sys

import anyio
import pytest

import worker_ipc
from worker_ipc import ChannelClosed, MessageTooLarge, Overrun, ProtocolError, RemoteError, SpawnError, open_child
from worker_testkit import evil, exit_with


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


@pytest.mark.anyio
async def test_a_wait_after_destroy_has_the_evidence_of_the_end():
    words = "import sys, time; print('last words', file=sys.stderr, flush=True); time.sleep(60)"
    async with open_child([sys.executable, "-c", words]) as channel:
        with anyio.fail_after(10):
            while "last words" not in channel.stderr:
                await anyio.sleep(0.001)
            await channel.destroy()
            with pytest.raises(ChannelClosed, match="closed on this side") as caught:
                await channel.listen_once()
    assert (caught.value.returncode, caught.value.stderr) == (channel.returncode, "last words\n")
    assert caught.value.returncode is not None


@pytest.mark.anyio
async def test_what_is_handled_when_the_end_is_told_is_shown():
    async with open_child(evil(exit_with(3))) as channel:
        with pytest.raises(ChannelClosed):
            await channel.listen_once("ready")
        with pytest.raises(ChannelClosed) as caught:
            try:
                raise LookupError("the real problem")
            except LookupError:
                await channel.send("failed")
    assert isinstance(caught.value.__context__, LookupError)
    assert not caught.value.__suppress_context__
