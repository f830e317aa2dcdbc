"""What the workers of these tests are asked to do: `run([name, argument])`. Imported by children; keep it light."""

import faulthandler
import os
import resource
import signal
import sys
import threading
import time

state = {"mark": None}


def ok(value):
    return value


def nap(seconds):
    time.sleep(seconds)
    return seconds


def begin(path):
    """Say that it has begun, by a file, and go on."""
    with open(path, "x"):
        time.sleep(600)


def never():
    time.sleep(600)


def pid(_=None):
    return os.getpid()


def die(number):
    """Die by a signal, once what was written to stderr is out."""
    print("last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), number)
    time.sleep(60)  # SIGSTOP comes back from kill


def segfault(_):
    faulthandler.enable()
    faulthandler._sigsegv()


def leave(code):
    os._exit(code)


def raise_named(name):
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt, "GeneratorExit": GeneratorExit}[name](0)


class Unbuildable(Exception):
    """Its constructor wants two arguments, and its text cannot be made."""

    def __init__(self, one, two):
        super().__init__(one)

    def __str__(self):
        raise RuntimeError("no text")


def raise_unbuildable(_):
    raise Unbuildable(1, 2)


def raise_at_length(size):
    raise ValueError("x" * size)


def raise_in_colour(_):
    raise ValueError("\x1b[31mred\x1b[0m\nforged: line\r\x00")


def unencodable(what):
    cycle = []
    cycle.append(cycle)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return {
        "set": {1},
        "bytes": b"x",
        "nan": float("nan"),
        "big": 2**64,
        "surrogate": "\ud800",
        "cycle": cycle,
        "deep": deep,
        "object": object(),
    }[what]


def swallow_memory(_):
    """Ask for far more than may be had."""
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    return len(bytearray(2**33))


def outgrow(group):
    """Move into a control group that has little memory, and take more."""
    with open(f"{group}/cgroup.procs", "r+") as file:
        file.write(str(os.getpid()))
    return len(b"x" * 2**28)


def big(size):
    return "x" * size


def length(text):
    return len(text)


def stubborn(_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def spin(_):
    return sum(range(10**11))


def fork_and_die(_):
    """Leave a grandchild that holds every descriptor."""
    if os.fork() == 0:
        time.sleep(600)
    os._exit(3)


def leave_a_mark(value):
    before = state["mark"]
    state["mark"] = value
    os.environ["MARK"] = value
    os.chdir("/")
    return before


def descriptors(_=None):
    return sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}"))


def environment(_=None):
    return dict(os.environ)


def command_line(_=None):
    with open("/proc/self/cmdline", "rb") as file:
        return file.read().decode().split("\0")


def threads(_=None):
    return [thread.name for thread in threading.enumerate()]


def run(order):
    """The one function that every kind of worker here runs."""
    return globals()[order[0]](order[1])
