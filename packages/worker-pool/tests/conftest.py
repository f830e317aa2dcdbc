from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests import what stands beside this file (`cutting`, `memory_acks`)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nothing here takes longer than some seconds: a hang is to fail soon, with a stack."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(20))
