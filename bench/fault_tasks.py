"""What the workers are asked to do in `bench.faults`: one function by name, so that every pool can reach it.

Results are plain, so that JSON carries them as well as pickle does.
"""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any


class Unbuildable(Exception):
    """Pickles, and cannot be unpickled: its constructor wants two arguments."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__(one)


def ok(seconds: float) -> str:
    time.sleep(seconds)
    return "ok"


def sigkill(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hard_exit(_: object) -> None:
    os._exit(0)


def soft_exit(_: object) -> None:
    sys.exit(0)


def fork_and_die(_: object) -> None:
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)
    os._exit(3)


def unencodable(_: object) -> Any:
    return threading.Lock()


def unbuildable(_: object) -> None:
    raise Unbuildable(1, 2)


def stubborn(marker: str) -> None:
    """Ignore SIGTERM, say so in a file, and stay."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(marker, "w") as file:
        file.write("here")
    time.sleep(60)


def busy(path: str) -> None:
    """Tell the pid in a file, then compute for a minute: longer than anybody looks, and not for ever."""
    pid(path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pass


def pid(path: str) -> int:
    """Tell the pid in a file, atomically."""
    target = os.path.join(path, str(os.getpid()))
    with open(target + ".new", "w"):
        pass
    os.rename(target + ".new", target)
    time.sleep(0.3)
    return os.getpid()


def run(order: Any) -> Any:
    """The one function that every pool runs: an order is `[name, argument]`."""
    return globals()[order[0]](order[1])


def broken_init() -> None:
    """An initializer that fails, and leaves a tally of how often it was tried."""
    with open(os.environ["BENCH_FAULTS_TALLY"], "a") as file:
        file.write("x")
    raise RuntimeError("this worker cannot start")


def endless(tally: Any) -> Any:
    """Yield for ever, counting in `tally[0]` what was taken."""
    for number in itertools.count():
        tally[0] = number + 1
        yield ["ok", 0]


def processes_of(group: int) -> list[int]:
    """The pids of a session, for cleaning up after a pool."""
    lines = subprocess.run(["ps", "-eo", "pid=,sid="], capture_output=True, text=True, check=True).stdout.split("\n")
    pairs = (line.split() for line in lines if line.strip())
    return [int(pid) for pid, session in pairs if int(session) == group]
