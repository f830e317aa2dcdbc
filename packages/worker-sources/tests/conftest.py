from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _nothing_is_left(no_leaks: None) -> None:
    """Every test of this package answers for its threads, descriptors, tasks and files."""
