"""The child of the strict and deep cases: it answers events and requests, without an event loop."""

from worker_ipc.blocking import open_parent

with open_parent() as channel:
    channel.handle("double", lambda data: data * 2)
    channel.handle("size", len)
    channel.send("ready")
    for message in channel.listen("request"):
        channel.send("response", {"data": message["data"] * 2})
