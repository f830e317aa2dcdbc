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
    messages = channel.listen()  # of every type, in the order of sending
    await channel.send("brew", {"drink": drink})
    async for message in messages:
        match message:
            case {"type": "progress", "step": step, "percent": percent}:
                print(f"{drink}: {step} {percent} %")
            case {"type": "question", "text": question}:
                print(f"{drink}: the worker asks: {question}")
                await channel.send("answer", {"text": "with milk"})
            case {"type": "served", "cup": cup}:
                return str(cup)
    raise AssertionError("a parent's listen ends only by an error: the death of the child")


async def main() -> None:
    async with spawned_worker(CHILD, execute=brew) as worker:
        print("tea:", await worker.execute("tea"))


if __name__ == "__main__":
    anyio.run(main)
