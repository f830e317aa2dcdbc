"""The faults at which every other pool fails at least once end in ours as they should (see `bench.faults`)."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FAULTS = [
    "SIGKILL mid-task",
    "os._exit(0) mid-task",
    "forks, then dies",
    "init always raises",
    "result can't be encoded",
    "exception can't be rebuilt",
    "50 MB argument, SIGKILL",
    "sys.exit(0) in a task",
    "SIGTERM ignored, shutdown",
    "parent SIGKILLed, workers busy",
    "parent SIGKILLed, workers idle",
]


@pytest.mark.fault(6)
@pytest.mark.fault(15)
@pytest.mark.fault(16)
@pytest.mark.fault(17)
@pytest.mark.fault(21)
@pytest.mark.fault(22)
@pytest.mark.fault(25)
@pytest.mark.fault(29)
@pytest.mark.fault(36)
@pytest.mark.fault(79)
@pytest.mark.timeout(240)  # eleven cells of a second or two each, every one a program with workers of its own
@pytest.mark.parametrize("pool", ["worker-spawn", "worker-spawn (trio)"])
def test_they_end_as_they_should(pool: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "bench.faults",
        "--pool",
        pool,
        *(word for fault in FAULTS for word in ("--fault", fault)),
    ]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    with suppress(ChildProcessError):  # those whose parent was killed are ours now; whoever still lives is a leak
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| as it should be | 11 of 11 |" in done.stdout
