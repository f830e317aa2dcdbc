"""The surface: what is public, and that its types are inferred."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import worker_sources

TYPES = Path(__file__).with_name("typing_api.py")


def test_all_names_what_is_public_and_each_is_documented() -> None:
    public = {name for name in vars(worker_sources) if not name.startswith("_")}
    assert public == set(worker_sources.__all__)
    assert worker_sources.__all__ == sorted(worker_sources.__all__)
    for name in public:
        assert inspect.getdoc(getattr(worker_sources, name)), name


def test_it_imports_no_event_loop_and_no_other_package_of_ours() -> None:
    code = (
        "import sys, worker_sources; "
        "print(sorted({'trio', 'worker_pool', 'worker_ipc', 'worker_spawn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_traceback_names_an_error_as_it_is_imported() -> None:
    public = [getattr(worker_sources, name) for name in worker_sources.__all__]
    errors = [one for one in public if isinstance(one, type) and issubclass(one, Exception)]
    assert {error.__module__ for error in errors} == {"worker_sources"}
