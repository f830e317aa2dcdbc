"""The child of conversation.py: it reports progress, asks back, and serves.

It is no example by itself: run `python examples/conversation.py`, which starts it.
"""

from worker_ipc.blocking import open_parent

with open_parent() as channel:
    for order in channel.listen("brew"):
        for percent in (50, 100):
            channel.send("progress", {"step": "grinding", "percent": percent})
        channel.send("question", {"text": "milk?"})
        answer = channel.listen_once("answer")
        channel.send("served", {"cup": f"a cup of {order['drink']} {answer['text']}"})
