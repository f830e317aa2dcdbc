"""A Node program as a worker, without any library on its side (see double.mjs).

$ python examples/node_child.py
a- -> a-a-
b- -> b-b-
c- -> c-c-
"""

from pathlib import Path

import anyio

from worker_ipc import ParentChannel
from worker_pool import WorkPool
from worker_spawn import spawned_worker

CHILD = Path(__file__).with_name("double.mjs")


async def ask(channel: ParentChannel, text: str) -> str:
    reply = channel.listen_once("response")
    await channel.send("request", {"data": text})
    return (await reply)["data"]


def double() -> spawned_worker[str, str]:
    return spawned_worker(CHILD, init=lambda channel: channel.listen_once("ready"), execute=ask)


async def main() -> None:
    async with WorkPool(double, max_size=2) as pool, pool.stream(["a-", "b-", "c-"], ordered=True) as outcomes:
        async for outcome in outcomes:
            print(outcome.input, "->", outcome.unwrap())


if __name__ == "__main__":
    anyio.run(main)
