"""Ctrl-C at one line of ours after another: `interrupted.py LOOP STACK HOW_MANY` tells what went wrong, if anything.

The scenario is run once, to see which lines of our packages it passes. Then again for each of them, in a fork of its
own, with a SIGINT as that line begins; so many of them as asked for, evenly spread. Each run has to end in
KeyboardInterrupt, alone, with no child left and not a word on stderr.
"""

import gc
import itertools
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import trio  # so that the marks are there before the first fork
from stacks import STACKS, make

from worker_ipc import open_child
from worker_pool import WorkPool
from worker_sources import QueueSource
from worker_testkit import children

assert trio
LIMIT = 10.0  # seconds; that Ctrl-C ended nothing is a failure too
ECHO = "from worker_ipc.blocking import open_parent\nwith open_parent() as c: c.serve({'echo': lambda x: x})"

Line = tuple[str, int]


async def pool(stack: str) -> None:
    """One of all that a pool does."""
    async with WorkPool(partial(make, stack, stderr="forward"), max_size=2, min_size=2) as pool:
        assert await pool.execute(["ok", 1]) == 1
        async with pool.stream(["ok", number] for number in range(4)) as outcomes:
            assert len([outcome.unwrap() async for outcome in outcomes]) == 4
        queue: QueueSource[Any] = QueueSource()
        for number in range(4):
            await queue.put(["ok", number])
        queue.close()
        assert (await pool.process(queue)).succeeded == 4


async def channel(_: str) -> None:
    """A child in the hands of the main task itself."""
    async with open_child([sys.executable, "-c", ECHO]) as channel:
        assert await channel.request("echo", [1]) == 1


def run(loop: str, stack: str, at: Callable[[Line], object]) -> None:
    """Run the scenario, calling `at` when it passes a line of ours for the first time."""
    seen: set[Line] = set()

    def trace(frame: Any, event: str, _: object) -> Any:
        line = (frame.f_code.co_filename, frame.f_lineno)
        if "/worker-" not in line[0] or "/src/" not in line[0] or "worker_testkit" in line[0]:
            return None
        if event == "line" and line not in seen:
            seen.add(line)
            at(line)
        return trace

    scenario = pool if stack in STACKS else channel
    sys.settrace(trace)
    try:
        anyio.run(scenario, stack, backend=loop)
    finally:
        sys.settrace(None)


def problems(loop: str, stack: str, target: Line) -> Iterator[str]:
    """Tell what goes wrong when SIGINT comes at `target`."""
    hits: list[Line] = []

    def strike(line: Line) -> None:
        if line == target:
            hits.append(line)
            os.kill(os.getpid(), signal.SIGINT)

    try:
        run(loop, stack, strike)
    except KeyboardInterrupt:
        pass
    except BaseException as error:
        yield f"ended in {error!r}"
    else:
        if hits:
            yield "went on"
    gc.collect()  # what was never awaited, or never closed, says so now
    if left := children():
        yield f"left {left}"


def forked(loop: str, stack: str, target: Line) -> list[str]:
    """Return the problems that a fork of this process has."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with open(reading) as told:
            text = told.read()
        os.waitpid(child, 0)
        return [f"{target}: {text}"] if text else []
    os.dup2(writing, 2)
    threading.Timer(LIMIT, lambda: (os.write(2, b"hangs"), os._exit(1))).start()
    for problem in problems(loop, stack, target):
        print(problem, file=sys.stderr)
    os._exit(0)


def main(loop: str, stack: str, count: int) -> None:
    """Print the problems, one a line, and how many lines were tried."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("error")
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # that a step was slow says only that the machine is busy
    lines: list[Line] = []
    run(loop, stack, lines.append)
    tried = lines[:: max(1, len(lines) // count)]
    print(*itertools.chain.from_iterable(forked(loop, stack, line) for line in tried), len(tried), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
