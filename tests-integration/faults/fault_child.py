"""The child of the spawned workers of these tests: `fault_functions.run`, by request or in a conversation."""

from fault_functions import run

from worker_ipc.blocking import open_parent

with open_parent() as channel:
    channel.handle("run", run)
    channel.send("ready")
    for message in channel.listen("run"):
        channel.send("done", {"result": run(message["order"])})
