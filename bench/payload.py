"""A megabyte to a worker and its size back, in MB/s: what each way of carrying a payload costs.

The answer is the size, so that one direction is measured and the result is still checked.
"""

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import orjson

from bench.loops import run_on

CHILD = str(Path(__file__).parent / "ours" / "double_child.py")


def make(kind: str, megabytes: int) -> Any:
    """Text, bytes or an array of so many MB."""
    if kind == "numpy":
        import numpy

        return numpy.arange(megabytes * 1_000_000, dtype=numpy.uint8)
    return "x" * (megabytes * 1_000_000) if kind == "json" else os.urandom(megabytes * 1_000_000)


def size_of(payload: Any) -> int:
    """What every worker answers."""
    return len(payload)


def value(way: str, kind: str, megabytes: int, seconds: float, loop: str | None = None) -> float:
    """MB per second, the median of the exchanges that fit into the time."""
    payload = make(kind, megabytes)
    opened = WAYS[way](kind)
    if loop is None:
        with opened as exchange:
            times = [timed(exchange, payload) for _ in enough(seconds)]
    else:

        async def inside() -> list[float]:
            async with opened as exchange:
                return [await timed_async(exchange, payload) for _ in enough(seconds)]

        times = run_on(loop, inside)
    return megabytes / statistics.median(times)


def enough(seconds: float) -> Iterator[None]:
    """At least five exchanges, and as many as fit into the time."""
    until, done = time.perf_counter() + seconds, 0
    while done < 5 or time.perf_counter() < until:
        yield
        done += 1


def timed(exchange: Callable[[Any], int], payload: Any) -> float:
    started = time.perf_counter()
    answer = exchange(payload)
    elapsed = time.perf_counter() - started
    assert answer == len(payload)
    return elapsed


async def timed_async(exchange: Callable[[Any], Any], payload: Any) -> float:
    started = time.perf_counter()
    answer = await exchange(payload)
    elapsed = time.perf_counter() - started
    assert answer == len(payload)
    return elapsed


FRAMES = """
import sys, socket, orjson
wire, decode = socket.socket(fileno=int(sys.argv[1])), sys.argv[2] == "json"
size = bytearray(8)
while wire.recv_into(size, 8, socket.MSG_WAITALL):
    body = bytearray(int.from_bytes(size, "big"))
    wire.recv_into(body, len(body), socket.MSG_WAITALL)
    wire.sendall(len(orjson.loads(body)["data"] if decode else body).to_bytes(8, "big"))
"""


@contextmanager
def bare_frames(kind: str) -> Iterator[Callable[[Any], int]]:
    """The limit: a length, then the bytes, over a blocking socket; for JSON with orjson at both ends."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", FRAMES, str(theirs.fileno()), kind]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()

    def exchange(payload: Any) -> int:
        body = orjson.dumps({"data": payload}) if kind == "json" else memoryview(payload)
        ours.sendall(len(body).to_bytes(8, "big"))
        ours.sendall(body)
        return int.from_bytes(ours.recv(8, socket.MSG_WAITALL), "big")

    with ours:
        yield exchange
    process.wait()


@contextmanager
def multiprocessing_pool(kind: str) -> Iterator[Callable[[Any], int]]:
    """`Pool.apply`: pickle, whatever the payload."""
    import multiprocessing

    with multiprocessing.Pool(1) as pool:
        yield lambda payload: pool.apply(size_of, (payload,))


@contextmanager
def process_pool_executor(kind: str) -> Iterator[Callable[[Any], int]]:
    """`submit`, likewise."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as executor:
        yield lambda payload: executor.submit(size_of, payload).result()


@asynccontextmanager
async def our_stack(kind: str) -> AsyncIterator[Callable[[Any], Any]]:
    """The whole stack: requests for JSON, a function worker with `Pickled()` for what JSON can't carry."""
    from worker_ipc.codecs import Pickled
    from worker_pool import WorkPool
    from worker_spawn import function_worker, spawned_worker

    def worker() -> Any:
        if kind == "json":
            return spawned_worker(CHILD, execute="size")
        return function_worker("bench.payload:size_of", codec=Pickled())

    async with WorkPool(worker, max_size=1) as pool:
        yield pool.execute


WAYS = {
    "frames": bare_frames,
    "multiprocessing": multiprocessing_pool,
    "executor": process_pool_executor,
    "ours": our_stack,
}
