"""A child that doubles what it is given. It needs no event loop."""

from worker_ipc.blocking import open_parent

with open_parent() as channel:
    channel.send("ready")
    for message in channel.listen("request"):
        channel.send("response", {"data": message["data"] * 2})
