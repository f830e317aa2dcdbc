"""What the function workers of these tests call."""

import os
import signal
import time

state = {"loads": 0}


def load():
    state["loads"] += 1


def loads(_):
    return state["loads"], os.getpid()


def double(value):
    return value + value


def nap(seconds):
    time.sleep(seconds)
    return seconds


def maybe_die(value):
    if value == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def fail(value):
    raise ValueError(f"no {value}")


def leave(_):
    raise SystemExit(0)


def unsendable(_):
    return {1, 2}


async def double_later(value):
    return value * 2


def answer_after(order):
    number, delay = order
    time.sleep(delay)
    return number
