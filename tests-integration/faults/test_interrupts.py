"""H. Ctrl-C at any line of ours: it ends everything, and nothing but itself comes out of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from stacks import STACKS

SWEEP = Path(__file__).with_name("interrupted.py")


@pytest.mark.fault(93)
@pytest.mark.timeout(3600)  # for the whole of it, on a busy machine; the part that is tried each time needs seconds
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("stack", [*STACKS, "channel"])
def test_at_whatever_line_of_ours_it_comes_it_is_one_keyboard_interrupt(
    loop: str, stack: str, pytestconfig: pytest.Config
) -> None:
    """Of the lines that a pool and a channel pass in their lives; `--whole-matrix` tries each, the default some."""
    lines = 10**6 if pytestconfig.getoption("--whole-matrix") else 8
    command = [sys.executable, "-X", "dev", "-W", "error", str(SWEEP), loop, stack, str(lines)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    *problems, tried = done.stdout.splitlines()
    assert (problems, done.returncode) == ([], 0)
    assert int(tried) >= 8
