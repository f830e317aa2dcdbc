"""Every test here ends with the leak check."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

# Tests and children alike import what stands beside this file (`stacks`, `fault_functions`): a function worker looks
# for its function where its parent would.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def checked(no_leaks: None) -> None:
    """Nothing may be left behind: see worker_testkit."""


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group whose processes get 64 MiB together, and are killed by the kernel when they want more."""
    for hierarchy, limit in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):  # version 2, version 1
        group = Path("/sys/fs/cgroup", hierarchy, f"workers-test-{os.getpid()}")
        with suppress(OSError):
            group.mkdir()
            try:
                with (group / limit).open("r+") as file:  # a folder that is no control group has no such file
                    file.write(str(64 << 20))
                yield group
                return
            finally:
                group.rmdir()
    pytest.skip("needs a control group for memory, which this user, or this system, may not make")
