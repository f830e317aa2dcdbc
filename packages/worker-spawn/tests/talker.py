"""A child that does what it is told: the scripts of the conversation tests."""

import os
import signal
import sys

from worker_ipc.blocking import open_parent


def misbehave(how):
    if how == "kill":
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(0)


with open_parent() as channel:
    channel.handle("double", lambda value: value + value)
    channel.handle("misbehave", misbehave)
    channel.send("ready")
    for message in channel.listen("request"):
        misbehave(message["data"])
        if message["data"] == "silence":
            continue
        for reply in ("response", "extra"):
            channel.send(reply, {"data": message["data"] * 2})
            if message["data"] == "last":
                misbehave("kill")
