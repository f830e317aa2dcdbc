"""execnet: channels to other interpreters, the nearest to a conversation; `window` items in flight per channel."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import execnet

from bench.load import Run

CHILD = """
while True:
    channel.send(channel.receive() * 2)
"""


@contextmanager
def open_pool(workers: int, window: int) -> Iterator[Run]:
    group = execnet.Group([f"popen//id=worker{number}" for number in range(workers)])
    channels = group.remote_exec(CHILD)
    answers = channels.make_receive_queue()

    def run(inputs: Iterable[str]) -> Iterator[str]:
        todo = iter(inputs)
        waiting = 0
        for channel in list(channels) * window:
            for item in islice(todo, 1):
                channel.send(item)
                waiting += 1
        while waiting:
            channel, result = answers.get()
            waiting -= 1
            for item in islice(todo, 1):
                channel.send(item)
                waiting += 1
            yield result

    yield run
    group.terminate(timeout=1)
