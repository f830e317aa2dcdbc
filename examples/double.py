"""The child of double_the_input.py: it doubles what it is given. It needs no event loop.

It is no example by itself: run `python examples/double_the_input.py` or `node examples/node_parent.mjs`.
"""

from worker_ipc.blocking import open_parent

with open_parent() as channel:
    channel.send("ready")
    for message in channel.listen("request"):
        channel.send("response", {"data": message["data"] * 2})
