"""Each fault of packaging, planted in a copy of the tree, is caught by the session that is there to catch it.

What one session cannot see another must, so each test also shows, where it is quick, the session that is fooled.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
LEFT_BEHIND = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "uv.lock", "*.egg-info", "dist")

pytestmark = [
    pytest.mark.timeout(300),  # a session makes an environment; the first one may have to download it
    pytest.mark.leaks("uv leaves its lock files in the temporary folder"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the tree, as a fresh clone would have it."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND)
    return copy


def nox(tree: Path, session: str) -> tuple[bool, str]:
    """Run one session in the copy; return whether it passed and what it said. Tests are collected, not run."""
    # What the outer nox says about its own environment is not for the inner one.
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("NOX", "VIRTUAL_ENV", "UV_P"))}
    command = [sys.executable, "-m", "nox", "-s", session, "--", "--collect-only", "-q"]
    done = subprocess.run(command, cwd=tree, env=ours, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, done.stdout


def walls(tree: Path) -> tuple[bool, str]:
    """Check the import contracts in the copy."""
    sources = os.pathsep.join(map(str, tree.glob("packages/*/src")))
    env = {**os.environ, "PYTHONPATH": sources, "COLUMNS": "200"}
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=tree, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, done.stdout


def plant(tree: Path, package: str, source: str, file: str = "_planted.py") -> None:
    path = tree / "packages" / package / "src" / package.replace("-", "_") / file
    path.write_text(f'"""Planted."""\n\n{source}\n')


def change(path: Path, old: str, new: str) -> None:
    text, count = re.subn(old, new, path.read_text(), count=1)
    assert count == 1, f"{old!r} does not occur in {path}"
    path.write_text(text)


def test_a_sibling_that_is_not_declared(tree: Path) -> None:
    plant(tree, "worker-ipc", "import worker_pool")

    passed, said = nox(tree, f"tests-{PYTHON}(worker-ipc)")
    assert not passed
    assert "No module named 'worker_pool'" in said


def test_a_dependency_that_only_the_test_group_has(tree: Path) -> None:
    plant(tree, "worker-sources", "import hypothesis")

    passed, said = nox(tree, f"tests-{PYTHON}(worker-sources)")
    assert passed, said  # fooled: the test group has it

    passed, said = nox(tree, "wheels")
    assert not passed
    assert "No module named 'hypothesis'" in said


def test_a_version_that_drifted(tree: Path) -> None:
    change(tree / "packages/worker-pool/pyproject.toml", r'version = ".*"', 'version = "99.0"')

    passed, said = nox(tree, "wheels")
    assert not passed
    assert "worker-pool" in said

    passed, said = nox(tree, f"integration-{PYTHON}")
    assert not passed
    assert "worker-pool" in said


def test_a_lower_bound_below_what_is_used(tree: Path) -> None:
    project = tree / "packages/worker-sources/pyproject.toml"
    # TypeIs came with typing_extensions 4.10; anyio itself asks for 4.5
    change(project, r"dependencies = \[", 'dependencies = ["typing_extensions>=4.5", ')
    plant(tree, "worker-sources", "from typing_extensions import TypeIs")

    passed, said = nox(tree, f"tests-{PYTHON}(worker-sources)")
    assert passed, said  # fooled: it gets the newest

    passed, said = nox(tree, "minimums(worker-sources)")
    assert not passed
    assert "cannot import name 'TypeIs'" in said


def test_a_lower_bound_that_a_test_tool_hides(tree: Path) -> None:
    change(tree / "packages/worker-sources/pyproject.toml", r'"anyio>=[\d.]+"', '"anyio>=4.0"')

    passed, said = nox(tree, "minimums(worker-sources)")
    assert not passed
    assert "not tested at its lower bounds: anyio>=4.0 is installed as" in said


@pytest.mark.parametrize(
    ("package", "file", "source", "complaint"),
    [
        ("worker-sources", "_planted.py", "import worker_pool", "worker_sources is not allowed to import worker_pool"),
        ("worker-pool", "_planted.py", "import worker_spawn", "worker_pool is not allowed to import worker_spawn"),
        ("worker-ipc", "_errors.py", "from . import codecs", "worker_ipc._errors is not allowed to import"),
        ("worker-ipc", "codecs/_planted.py", "import asyncio", "worker_ipc.codecs is not allowed to import asyncio"),
        ("worker-ipc", "_planted.py", "", "_planted"),  # a new file has to be given its floor
    ],
)
def test_a_breach_of_the_walls(tree: Path, package: str, file: str, source: str, complaint: str) -> None:
    plant(tree, package, source, file)

    passed, said = walls(tree)
    assert not passed
    assert complaint in said
