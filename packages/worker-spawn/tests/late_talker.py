"""A child that answers each request as late as it was told, meanwhile taking more; its replies name their input."""

import heapq
import json
import os
import select
import time

# By hand, so that nothing of the library can drop a late reply on this side.
channel = int(os.environ["NODE_CHANNEL_FD"])
os.write(channel, b'{"type":"ready"}\n')
due, buffer, number = [], b"", 0
while True:
    left = max(0.0, due[0][0] - time.monotonic()) if due else None
    if select.select([channel], [], [], left)[0]:
        data = os.read(channel, 65536)
        if not data:
            break
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message.get("type") == "request":
                reply = {"type": "response", "data": message["data"]}
                delay = message["delay"]
            elif "id" in message:
                input, delay = message["params"][0]
                reply = {"jsonrpc": "2.0", "id": message["id"], "result": input}
            else:
                continue  # "forget it": too late, this child is obstinate
            heapq.heappush(due, (time.monotonic() + delay, number := number + 1, reply))
    while due and due[0][0] <= time.monotonic():
        os.write(channel, json.dumps(heapq.heappop(due)[2]).encode() + b"\n")
