"""One fault in one pool, in a process of its own that may be killed: prints one line of JSON.

    python -m bench.fault_cell "mp.Pool" sigkill

`{"good": whether this is how it should be, "text": what to print}`.
"""

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from bench.fault_pools import WORKERS, Pool, in_thread, open_pool
from bench.fault_tasks import endless

LIMIT = 8.0  # seconds after which something that has not ended is called a hang
BIG = 50_000_000
# Inputs. A pool may keep its workers busy beyond what is used, by a bound that does not grow with time: ours takes
# twice what its workers have at once, or 64 while its consumer asks again within a millisecond (`OutcomeStream`).
AHEAD = 64


def say(good: bool, text: str) -> None:
    print("\n" + json.dumps({"good": good, "text": text}), flush=True)
    os._exit(0)  # a pool that hangs at exit is measured elsewhere


def mid_task(pool_name: str, faulty: list[Any], *, keeps_worker: bool = False) -> None:
    """Four tasks, the second of which is faulty: does it end, do its neighbours, and the pool?"""
    pool = open_pool(pool_name)
    pool.submit(["ok", 0]).result(LIMIT)  # the workers are there
    start = time.monotonic()
    futures = [pool.submit(order) for order in (["ok", 0.3], faulty, ["ok", 0.3], ["ok", 0.3])]
    wait(futures, LIMIT)
    took = max(0.0, time.monotonic() - start)
    lost = sum(not is_ok(future) for index, future in enumerate(futures) if index != 1)
    text, good = describe(futures[1], took)
    usable = is_usable(pool)
    if lost:
        text += f", {lost} neighbours lost"
    if not usable:
        text += ", pool dead"
    say(good and not lost and usable, text)


def is_usable(pool: Pool) -> bool:
    try:
        return bool(pool.submit(["ok", 0]).result(LIMIT / 2) == "ok")
    except BaseException:
        return False


def is_ok(future: "Future[Any]") -> bool:
    return future.done() and future.exception() is None


def describe(future: "Future[Any]", took: float) -> tuple[str, bool]:
    if not future.done():
        return f"hang (> {took:.0f} s)", False
    error = future.exception()
    if error is None:
        return "no error", False
    if not isinstance(error, Exception):
        return f"{type(error).__name__} raised in the parent", False
    return type(error).__name__, True


def broken_start(pool_name: str) -> None:
    """Every initializer raises: is somebody told, and after how many tries?"""
    with tempfile.NamedTemporaryFile() as tally:
        os.environ["BENCH_FAULTS_TALLY"] = tally.name
        start = time.monotonic()
        try:
            future = open_pool(pool_name, broken=True).submit(["ok", 0])
        except NotImplementedError:
            return say(True, "n/a")
        except Exception as error:
            return say(True, f"{type(error).__name__}, {os.path.getsize(tally.name)} starts")
        wait([future], LIMIT)
        text, good = describe(future, time.monotonic() - start)
        say(good, f"{text}, {os.path.getsize(tally.name)} starts")


def stubborn_shutdown(pool_name: str) -> None:
    """A task that ignores SIGTERM: how long does the shutdown take?"""
    pool = open_pool(pool_name)
    with tempfile.TemporaryDirectory() as directory:
        marker = os.path.join(directory, "here")
        pool.submit(["stubborn", marker])
        wait_for(lambda: os.path.exists(marker))
        start = time.monotonic()
        closing = in_thread(pool.close)
        wait([closing], LIMIT)
        took = time.monotonic() - start
        say(closing.done() and took < 7, f"{took:.1f} s" if closing.done() else f"> {took:.0f} s")


def read_ahead(pool_name: str) -> None:
    """An endless source of which three results are used, and then nothing for a while."""
    pool, tally = open_pool(pool_name), [0]

    def use_three() -> Any:
        results = pool.map(endless(tally))
        for _ in range(3):
            next(results)
        return results  # kept: a map that nobody holds any more may stop for that

    used = in_thread(use_three)
    wait([used], LIMIT)
    if used.done() and isinstance(used.exception(), NotImplementedError):
        return say(True, "n/a")
    time.sleep(2.5)
    say(tally[0] <= 3 + AHEAD, f"{tally[0]:,} read")


def orphans(pool_name: str, *, busy: bool, directory: str) -> None:
    """Become a parent that is about to be killed: the driver sees the pids in `directory`."""
    pool = open_pool(pool_name)
    futures = [pool.submit(["busy" if busy else "pid", directory]) for _ in range(WORKERS)]
    if not busy:
        wait(futures, LIMIT)
    wait_for(lambda: len([name for name in os.listdir(directory) if name.isdigit()]) >= WORKERS)
    with open(os.path.join(directory, "ready"), "w"):
        time.sleep(60)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            say(False, "its tasks did not start")
        time.sleep(0.02)


CELLS: dict[str, Callable[..., None]] = {
    "SIGKILL mid-task": lambda pool: mid_task(pool, ["sigkill", None]),
    "os._exit(0) mid-task": lambda pool: mid_task(pool, ["hard_exit", None]),
    "forks, then dies": lambda pool: mid_task(pool, ["fork_and_die", None]),
    "init always raises": broken_start,
    "result can't be encoded": lambda pool: mid_task(pool, ["unencodable", None]),
    "exception can't be rebuilt": lambda pool: mid_task(pool, ["unbuildable", None]),
    "50 MB argument, SIGKILL": lambda pool: mid_task(pool, ["sigkill", "x" * BIG]),
    "sys.exit(0) in a task": lambda pool: mid_task(pool, ["soft_exit", None]),
    "SIGTERM ignored, shutdown": stubborn_shutdown,
    "parent SIGKILLed, workers busy": lambda pool, directory: orphans(pool, busy=True, directory=directory),
    "parent SIGKILLed, workers idle": lambda pool, directory: orphans(pool, busy=False, directory=directory),
    "read from an endless source": read_ahead,
}

if __name__ == "__main__":
    try:
        CELLS[sys.argv[2]](sys.argv[1], *sys.argv[3:])
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # not by way of whatever the pool left running
