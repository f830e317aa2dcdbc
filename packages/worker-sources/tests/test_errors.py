"""Every public exception survives pickle and copy: a process pool, a task queue or a test runner hands it on."""

import copy
import pickle

import pytest

import worker_sources
from worker_sources import CorruptFile, DatabaseLocked, DiskFull, ForeignFile, QueueFull, SourceClosed, StorageError

ERRORS = [
    *(kind("/a/file", "why") for kind in (StorageError, DatabaseLocked, DiskFull, CorruptFile, ForeignFile)),
    QueueFull(3),
    SourceClosed(),
    SourceClosed("why"),
    worker_sources.EncodeError("text"),
    worker_sources.WorkerSourcesError("text"),
]


def test_every_public_exception_is_looked_at():
    kinds = [value for value in vars(worker_sources).values() if isinstance(value, type)]
    assert {type(error) for error in ERRORS} == {kind for kind in kinds if issubclass(kind, Exception)}


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_it_is_the_same_afterwards(error, again):
    error.add_note("a note")
    other = again(error)
    assert (type(other), str(other), vars(other), other.args) == (type(error), str(error), vars(error), error.args)


def test_it_says_what_happened():
    assert str(DiskFull("/a/file", "no space left")) == "/a/file: no space left"
    assert [str(QueueFull(1)), str(QueueFull(3))] == ["the queue is full (1 place)", "the queue is full (3 places)"]
