"""Every test here ends with the leak check, and may take half a minute at most before it is called a hang."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def checked(no_leaks: None) -> None:
    """Nothing may be left behind: see worker_testkit."""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let function workers find `fault_functions` beside this file."""
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
