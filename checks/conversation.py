"""Two processes hold a conversation, with nothing installed but the ipc wheel. Run by `nox -s wheels`."""

import asyncio
import sys

from worker_ipc import open_child

CHILD = """
from worker_ipc.blocking import open_parent
with open_parent() as channel:
    channel.send("ready")
    for message in channel.listen("request"):
        channel.send("response", {"data": message["data"] * 2})
"""


async def main() -> None:
    """Say a word, hear it twice."""
    async with open_child([sys.executable, "-c", CHILD]) as channel:
        await channel.listen_once("ready")
        reply = channel.listen_once("response")
        await channel.send("request", {"data": "a-"})
        answer = (await reply)["data"]
    assert answer == "a-a-", answer
    print(f"Sent a- Received {answer}")


if __name__ == "__main__":
    asyncio.run(main())
