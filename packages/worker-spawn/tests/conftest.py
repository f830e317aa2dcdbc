"""Every test ends with the leak check, and finds the functions beside it."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def checked(no_leaks: None) -> None:
    """Nothing may be left behind."""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let children import `functions`: they look where their parent looks."""
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
