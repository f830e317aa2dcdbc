"""The main job: a pool of child processes that hold a conversation about each input.

$ python examples/double_the_input.py
Sent a- Received a-a-
Sent b- Received b-b-
...
10 inputs, 10 results, 0 failures, 1 of at most 4 workers, 0.1 seconds

A worker is started when an input waits for one. So little work is done before the second is ready.
"""

import argparse
import time
from pathlib import Path

import anyio

from worker_ipc import ParentChannel
from worker_pool import WorkPool
from worker_sources import IterableSource
from worker_spawn import spawned_worker

CHILD = Path(__file__).with_name("double.py")


async def ask(channel: ParentChannel, text: str) -> str:
    """Hold one conversation: register for the response, send the request, await the reply, check it."""
    reply = channel.listen_once("response")
    await channel.send("request", {"data": text})
    answer: str = (await reply)["data"]
    print("Sent", text, "Received", answer)
    if answer != text + text:
        raise ValueError(f"{answer!r} is not the double of {text!r}")
    return answer


async def main() -> None:
    pool = WorkPool(
        lambda: spawned_worker(CHILD, init=lambda channel: channel.listen_once("ready"), execute=ask),
        max_size=4,
        init_timeout=30,
    )
    began = time.perf_counter()
    async with pool:
        summary = await pool.process(IterableSource(f"{letter}-" for letter in "abcdefghij"))
        workers = pool.statistics().started
    print(
        f"{summary.succeeded + summary.failed} inputs, {summary.succeeded} results, {summary.failed} failures, "
        f"{workers} of at most 4 workers, {time.perf_counter() - began:.1f} seconds"
    )


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Double the input on child processes.")
    arguments.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    anyio.run(main, backend=arguments.parse_args().backend)
