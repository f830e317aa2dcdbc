"""The public face: what is exported, from where, and what importing it costs."""

import importlib
import inspect
import subprocess
import sys

import pytest

import worker_ipc


def test_all_names_are_there_and_documented():
    assert sorted(worker_ipc.__all__) == worker_ipc.__all__ == sorted(worker_ipc._HOMES) == dir(worker_ipc)
    for name in worker_ipc.__all__:
        value = getattr(worker_ipc, name)
        assert inspect.getdoc(value), name
        if inspect.isclass(value):
            for method, member in vars(value).items():
                if not method.startswith("_") and callable(getattr(member, "fget", member)):
                    assert inspect.getdoc(getattr(value, method)), f"{name}.{method}"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        worker_ipc.nothing  # noqa: B018


def test_names_for_type_checkers_and_names_at_run_time_are_the_same():
    source = inspect.getsource(worker_ipc)
    imported = {line.rpartition(" ")[2] for line in source.splitlines() if line.startswith("    from .")}
    assert imported == set(worker_ipc.__all__)


@pytest.mark.parametrize("module", ["asyncio", "anyio", "trio", "typing", "logging", "dataclasses", "subprocess"])
def test_a_blocking_child_does_not_load(module):
    code = f"import sys, worker_ipc, worker_ipc.blocking; sys.exit({module!r} in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"], check=False
        ).returncode
        == 0
    )


def test_what_a_factory_owns_says_so():
    for name in ("Channel", "ParentChannel", "ChildChannel", "ChildStream"):
        assert "ade by" in inspect.getdoc(getattr(worker_ipc, name)), name


@pytest.mark.parametrize("module", ["codecs", "blocking"])
def test_public_modules_export_what_they_define(module):
    public = importlib.import_module(f"worker_ipc.{module}")
    assert sorted(public.__all__) == sorted(set(public.__all__))
    for name in public.__all__:
        assert inspect.getdoc(getattr(public, name)), name


def test_a_traceback_names_an_error_as_it_is_imported():
    public = [getattr(worker_ipc, name) for name in worker_ipc.__all__]
    errors = [one for one in public if isinstance(one, type) and issubclass(one, Exception)]
    assert {error.__module__ for error in errors} == {"worker_ipc"}
