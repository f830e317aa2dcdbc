"""A conversation of several messages each way, with progress while it lasts (see brewer.py).

$ python examples/conversation.py
tea: grinding 50 %
tea: grinding 100 %
tea: the worker asks: milk?
tea: a cup of tea with milk
"""

from pathlib import Path

import anyio

from worker_ipc import ParentChannel
from worker_spawn import spawned_worker

CHILD = Path(__file__).with_name("brewer.py")


async def brew(channel: ParentChannel, drink: str) -> str:
    """Show progress, answer a question, return the result: all of it belongs to this one input."""
    channel.listen_for("progress", lambda m: print(f"{drink}: {m['step']} {m['percent']} %"))
    question, served = channel.listen_once("question"), channel.listen_once("served")
    await channel.send("brew", {"drink": drink})
    print(f"{drink}: the worker asks: {(await question)['text']}")
    await channel.send("answer", {"text": "with milk"})
    return (await served)["cup"]


async def main() -> None:
    async with spawned_worker(CHILD, execute=brew) as worker:
        print("tea:", await worker.execute("tea"))


if __name__ == "__main__":
    anyio.run(main)
