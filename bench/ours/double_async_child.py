"""The same child on an event loop, for what that costs at the start."""

import anyio

from worker_ipc import open_parent


async def main() -> None:
    async with open_parent() as channel:
        channel.handle("double", lambda data: data * 2)
        await channel.send("ready")
        async for message in channel.listen("request"):
            await channel.send("response", {"data": message["data"] * 2})


anyio.run(main)
