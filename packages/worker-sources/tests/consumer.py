"""A consumer in a process of its own, such as a pool would be: what `test_sqlite_processes.py` kills.

    python consumer.py PATH BACKEND WORKERS LEASE GRACE

Each line of its standard output is one thing that happened: "start ID ATTEMPT", "done ID", "acked ID". A job is a
number of seconds to work, "poison", which ends the process, or "forever". SIGTERM ends it in an orderly way.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from typing import Any

import anyio

from worker_sources import Delivery, SqliteSource


class Consumer:
    def __init__(self, source: SqliteSource[Any], grace: float) -> None:
        self.source = source
        self.grace = grace
        self.held: list[Delivery[Any]] = []
        self.stopping = False
        self.scopes: set[anyio.CancelScope] = set()
        self.deadline = math.inf

    async def stop_on_signal(self, all_over: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            report("listening")
            async for _ in signals:
                self.stopping = True
                self.deadline = anyio.current_time() + self.grace
                for scope in self.scopes:
                    if scope.deadline == math.inf:  # a receive: it hands back what it has just claimed
                        scope.cancel()
                    else:
                        scope.deadline = self.deadline
                all_over.deadline = self.deadline + 5
                return

    async def renew(self) -> None:
        while True:
            await anyio.sleep(self.source.lease / 3)
            await self.source.renew(self.held)

    async def work(self) -> None:
        while not self.stopping:
            with anyio.CancelScope() as scope:
                self.scopes.add(scope)
                (delivery,) = await self.source.receive()
            self.scopes.discard(scope)
            if scope.cancelled_caught:
                return
            self.held.append(delivery)
            await self.do(delivery)
            self.held.remove(delivery)

    async def do(self, delivery: Delivery[Any]) -> None:
        report("start", delivery.id, delivery.attempt)
        with anyio.CancelScope(deadline=min(self.deadline, anyio.current_time() + 1e6)) as scope:
            self.scopes.add(scope)
            if delivery.value == "poison":
                await anyio.sleep(0.02)
                os._exit(1)
            await anyio.sleep(1e5 if delivery.value == "forever" else delivery.value)
        self.scopes.discard(scope)
        if scope.cancelled_caught:
            await delivery.hand_back()
        else:
            report("done", delivery.id)
            if await delivery.ack():
                report("acked", delivery.id)


def report(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def main(path: str, workers: int, lease: float, grace: float) -> None:
    async with SqliteSource[Any](path, lease=lease) as source:
        consumer = Consumer(source, grace)
        async with anyio.create_task_group() as background:
            background.start_soon(consumer.stop_on_signal, background.cancel_scope)
            background.start_soon(consumer.renew)
            async with anyio.create_task_group() as group:
                for _ in range(workers):
                    group.start_soon(consumer.work)
            background.cancel_scope.cancel()


if __name__ == "__main__":
    path, backend, workers, lease, grace = sys.argv[1:]
    anyio.run(main, path, int(workers), float(lease), float(grace), backend=backend)
