"""A test that needs a program is skipped without it, and says so; without Node it fails under CI=true."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

SUITE = """
import pytest

@pytest.mark.needs("no-such-program")
def test_other(): pass

@pytest.mark.node
def test_node(): pass

def test_plain(): pass
"""


@pytest.mark.parametrize(("ci", "ending"), [("", "1 passed, 2 skipped"), ("true", "1 passed, 1 skipped, 1 error")])
def test_a_missing_program(tmp_path: Path, ci: str, ending: str) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    node: x\n    needs: x\n")
    (tmp_path / "test_suite.py").write_text(SUITE)
    env = {**os.environ, "CI": ci, "PATH": str(tmp_path)}  # a PATH without any program
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider"]
    said = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True).stdout
    assert ending in said
    assert "needs no-such-program" in said
