"""Every test here ends with the leak check."""

import sys
from pathlib import Path

import pytest

# Tests and children alike import what stands beside this file (`stacks`, `fault_functions`): a function worker looks
# for its function where its parent would.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def checked(no_leaks: None) -> None:
    """Nothing may be left behind: see worker_testkit."""
