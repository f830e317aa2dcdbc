"""A child that notes in a file what it begins: `noter.py events|lines file`. An input is `[number, how]`."""

import os
import signal
import sys
import time


def begin(number, how=None):
    with open(sys.argv[2], "a") as notes:  # a short line in one write: what several children append does not mix
        notes.write(f"{number}\n")
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "wait":
        time.sleep(60)
    if how == "work":
        time.sleep(0.001)
    return os.getpid()


def over_stdio():
    import json

    for line in sys.stdin:
        print(begin(*json.loads(line)), flush=True)


def over_the_channel():
    from worker_ipc.blocking import open_parent

    with open_parent() as channel:
        channel.handle("begin", lambda order: begin(*order))
        channel.send("ready")
        for message in channel.listen("begin"):
            channel.send("done", {"pid": begin(*message["order"])})


if sys.argv[1] == "lines":
    over_stdio()
else:
    over_the_channel()
