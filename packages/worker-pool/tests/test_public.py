"""The surface: what is public, what it says it is, and that types are inferred."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import worker_pool
import worker_pool.testing

HERE = Path(__file__).parent


@pytest.mark.parametrize("module", [worker_pool, worker_pool.testing], ids=lambda module: module.__name__)
def test_all_names_what_is_public(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]
    assert sorted(set(names)) == sorted(names)
    for name in names:
        thing = getattr(module, name)
        if isinstance(thing, type) or inspect.isfunction(thing):
            assert thing.__doc__, f"{name} has no docstring"


def test_every_name_imported_is_in_all() -> None:
    public = {name for name in vars(worker_pool) if not name.startswith("_") and name not in ("testing",)}
    assert public == set(worker_pool.__all__)


def test_it_imports_anyio_and_no_event_loop() -> None:
    code = "import sys, worker_pool, worker_pool.testing; assert 'trio' not in sys.modules; print('ok')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ok\n"


FAILED = worker_pool.Summary(failed=2, failures=(worker_pool.Failure(1, ValueError("no")),))
ERRORS: list[Exception] = [
    worker_pool.PoolClosed(),
    worker_pool.PoolBroken(3, OSError("gone")),
    worker_pool.PoolDeadlock(3),
    worker_pool.StartTimeout(1.5),
    worker_pool.TaskTimeout(2),
    worker_pool.TaskAborted(SystemExit(3)),
    worker_pool.WorkerLost("w"),
    worker_pool.WorkFailed(FAILED),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_can_be_copied_and_pickled(error: Exception) -> None:
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again).keys() == vars(error).keys()
        assert repr(again.__cause__) == repr(error.__cause__)


def test_an_error_takes_its_notes_along() -> None:
    for error in (worker_pool.TaskTimeout(2), worker_pool.WorkFailed(FAILED)):
        error.add_note("seen on the way")
        for again in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
            assert again.__notes__ == error.__notes__
            assert again.__notes__[-1] == "seen on the way"


def test_the_errors_of_which_that_is_said_are_all_there_are() -> None:
    public = [getattr(worker_pool, name) for name in worker_pool.__all__]
    raised = {one for one in public if isinstance(one, type) and issubclass(one, BaseException)}
    assert {type(error) for error in ERRORS} == raised - {worker_pool.PoolError}


def test_a_traceback_names_an_error_as_it_is_imported() -> None:
    public = [getattr(worker_pool, name) for name in worker_pool.__all__]
    errors = [one for one in public if isinstance(one, type) and issubclass(one, Exception)]
    assert {error.__module__ for error in errors} == {"worker_pool"}
