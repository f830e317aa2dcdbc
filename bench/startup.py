"""From the call to the first result, in milliseconds: what a program waits for before its first worker works."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from socket import socketpair

import anyio

from bench.work import double

STARTS = 5  # per process: the first finds cold caches, the median does not
OURS = Path(__file__).parent / "ours"
BARE = "import os, sys, orjson; os.write(int(sys.argv[1]), orjson.dumps('first'))"


def value(how: str) -> float:
    """Milliseconds, the median of a few starts from a parent that has everything imported."""
    start = HOW[how]
    start()
    times = []
    for _ in range(STARTS):
        began = time.perf_counter()
        times.append(start() - began)
    return 1000 * statistics.median(times)


def bare_script() -> float:
    """A script that imports what our child can't do without, and says one thing."""
    ours, theirs = socketpair()
    with ours:
        command = [sys.executable, "-c", BARE, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        assert ours.recv(100) == b'"first"'
        heard = time.perf_counter()
        process.wait()
    return heard


def our_child(script: str) -> Callable[[], float]:
    """`open_child` to the first reply of a request."""

    async def inside() -> float:
        from worker_ipc import open_child

        async with open_child([sys.executable, str(OURS / script)]) as channel:
            assert await channel.request("double", ["a-"]) == "a-a-"
            return time.perf_counter()

    return lambda: anyio.run(inside)


def our_function() -> float:
    """A pool of function workers to its first result."""

    async def inside() -> float:
        from worker_pool import WorkPool
        from worker_spawn import function_worker

        async with WorkPool(lambda: function_worker("bench.work:double"), max_size=1) as pool:
            assert await pool.execute("a-") == "a-a-"
            return time.perf_counter()

    return anyio.run(inside)


def process_pool_executor(method: str) -> Callable[[], float]:
    """The standard library's, by "fork" (a copy of this process) or by "spawn" (a fresh one, as ours are)."""

    def start() -> float:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor:
            assert executor.submit(double, "a-").result() == "a-a-"
            return time.perf_counter()

    return start


def loky() -> float:
    """loky's plain executor, not the one that is reused."""
    from loky import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as executor:
        assert executor.submit(double, "a-").result() == "a-a-"
        return time.perf_counter()


def anyio_to_process() -> float:
    """anyio's worker process."""

    async def inside() -> float:
        from anyio import to_process

        assert await to_process.run_sync(double, "a-") == "a-a-"
        return time.perf_counter()

    return anyio.run(inside)


def execnet() -> float:
    """execnet's gateway by popen."""
    import execnet as net

    group = net.Group(["popen"])
    channel = group[0].remote_exec("channel.send(channel.receive() * 2)")
    channel.send("a-")
    assert channel.receive() == "a-a-"
    heard = time.perf_counter()
    group.terminate(timeout=1)
    return heard


HOW = {
    "a bare script": bare_script,
    "ours: a blocking child": our_child("double_child.py"),
    "ours: an async child": our_child("double_async_child.py"),
    "ours: pool of a function worker": our_function,
    "ProcessPoolExecutor, fork": process_pool_executor("fork"),
    "ProcessPoolExecutor, spawn": process_pool_executor("spawn"),
    "loky": loky,
    "anyio.to_process": anyio_to_process,
    "execnet": execnet,
}
