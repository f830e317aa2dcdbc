"""The limit: what the operating system and orjson allow, with no library in between.

One blocking parent on epoll, blocking children, JSON lines over socketpairs, `depth` messages in flight for each
child. Nothing here handles errors, deadlines or cancellation, so nobody who does can be faster for long. Alone:

    python -m bench.raw              inputs per second for 1 and 2 workers at depth 1, 8 and 64
    python -m bench.raw 5            the same, the median of five rounds
"""

import select
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import orjson

from bench.load import Run, measure

CHUNK = 65536

CHILD = """
import os, sys, orjson
fd, tail = int(sys.argv[1]), b""
while chunk := os.read(fd, 65536):
    *lines, tail = (tail + chunk).split(b"\\n")
    replies = []
    for line in lines:
        message = orjson.loads(line)
        reply = {"type": "response", "id": message["id"], "data": message["data"] * 2}
        replies.append(orjson.dumps(reply, None, orjson.OPT_APPEND_NEWLINE))
    if replies:
        os.write(fd, b"".join(replies))
"""


@contextmanager
def open_pool(workers: int, depth: int) -> Iterator[Run]:
    """A function from inputs to results, over `workers` children with `depth` messages in flight each."""
    pairs = [socket.socketpair() for _ in range(workers)]
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(theirs.fileno())], pass_fds=[theirs.fileno()])
        for _, theirs in pairs
    ]
    for _, theirs in pairs:
        theirs.close()
    try:
        yield lambda inputs: run([ours for ours, _ in pairs], depth, inputs)
    finally:
        for ours, _ in pairs:
            ours.close()
        for child in children:
            child.wait(5)


def run(sockets: list[socket.socket], depth: int, inputs: Iterable[str]) -> Iterator[str]:
    """Keep `depth` messages in flight on every socket until all inputs are answered."""
    todo = enumerate(inputs)
    tails = {ours.fileno(): (ours, b"") for ours in sockets}

    def post(ours: socket.socket, count: int) -> int:
        lines = [
            orjson.dumps({"type": "request", "id": number, "data": data}, None, orjson.OPT_APPEND_NEWLINE)
            for number, data in islice(todo, count)
        ]
        ours.sendall(b"".join(lines))
        return len(lines)

    with select.epoll() as epoll:
        for ours in sockets:
            epoll.register(ours, select.EPOLLIN)
        in_flight = sum(post(ours, depth) for ours in sockets)
        while in_flight:
            for descriptor, _ in epoll.poll():
                ours, tail = tails[descriptor]
                *lines, tail = (tail + ours.recv(CHUNK)).split(b"\n")
                tails[descriptor] = ours, tail
                yield from [orjson.loads(line)["data"] for line in lines]
                in_flight += post(ours, len(lines)) - len(lines)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    setups = [(workers, depth) for workers in (1, 2) for depth in (1, 8, 64)]
    speeds: dict[tuple[int, int], list[float]] = {setup: [] for setup in setups}
    for _ in range(rounds):
        for workers, depth in setups:
            with open_pool(workers, depth) as pool:
                speeds[workers, depth].append(measure(pool, seconds=0.4).per_second)
    for workers, depth in setups:
        speed = statistics.median(speeds[workers, depth])
        print(
            f"{workers} worker{'s' * (workers > 1):1}  depth {depth:2}  {speed:9,.0f} inputs/s  {1e6 / speed:6.2f} us"
        )


if __name__ == "__main__":
    main()
