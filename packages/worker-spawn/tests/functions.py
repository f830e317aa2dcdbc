"""What the function workers of these tests call."""

import logging
import os
import pickle
import signal
import sys
import time

state = {"loads": 0}
held = []
noted = None


def load():
    state["loads"] += 1


def die_at_the_first_read():
    """Be ready, and gone when the first input comes."""
    os.read = lambda *_: os._exit(1)


def loads(_):
    return state["loads"], os.getpid()


def double(value):
    return value + value


def has_in_path(entry):
    return entry in sys.path


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


def speak(text):
    print(text)
    print("to stderr", file=sys.stderr)
    logging.getLogger("of.the.function").warning("careful: %s", text)
    sys.stdout.flush()
    return text


def grow(size):
    held.append(bytes(size) + b"x")  # written to, so that it is there
    return len(held)


async def load_later():
    load()


def load_nothing():
    raise ValueError("no table")


class Array:
    """What a library of arrays does: it pickles its memory out of band, and is rebuilt around what it is given."""

    def __init__(self, memory):
        self.memory = memoryview(memory)

    def __reduce_ex__(self, protocol):
        return Array, (pickle.PickleBuffer(self.memory),)


def reversed_array(array):
    return Array(bytes(array.memory[::-1]))


CONSTANT = 3
_helpers = []


def start_talkers():
    """Two threads that log all the time, for as long as the child lives."""
    import threading

    def talk():
        while True:
            logging.getLogger("of.a.thread").warning("x" * 1000)
            time.sleep(0.001)

    for _ in range(2):
        threading.Thread(target=talk, daemon=True).start()


def nap_a_little(value):
    time.sleep(0.001)
    return value


def with_a_forked_helper(value):
    """Return the value; the first call forks a copy of this process that logs, and prints, for a while."""
    if not _helpers:
        import multiprocessing

        _helpers.append(multiprocessing.get_context("fork").Process(target=_talk_in_a_copy, daemon=True))
        _helpers[0].start()
    return value


def _talk_in_a_copy():
    for number in range(2000):
        logging.getLogger("of.a.copy").warning("copy %d", number)


def fork_and_return(value):
    """Both processes return; only one of them is the worker."""
    if value == "fork":
        os.fork()
    return value


class Scaler:
    def __init__(self, factor):
        self.factor = factor

    def scale(self, value):
        return value * self.factor

    @classmethod
    def double(cls, value):
        return cls(2).scale(value)


def note_and_wait(number):
    """Note that it has begun, in one write, and be busy for a tenth of a millisecond."""
    global noted
    if noted is None:
        noted = os.open(os.environ["BEGUN"], os.O_WRONLY | os.O_APPEND)
    os.write(noted, b"%d\n" % number)
    until = time.perf_counter() + 0.0001
    while time.perf_counter() < until:
        pass
    return number


def add_itself(items):
    """Change the input, as a function may: it is its own."""
    items.append(1)
    return len(items)


class Loads:
    """Loads only where it was made: elsewhere that raises, or exits."""

    def __init__(self, where, otherwise):
        self.where = where
        self.otherwise = otherwise

    def __reduce__(self):
        return _load, (self.where, self.otherwise)


def _load(where, otherwise):
    if where == os.getpid():
        return Loads(where, otherwise)
    if otherwise == "exit":
        os._exit(1)
    raise ValueError("not here")


def only_loads_here(value):
    return Loads(os.getpid(), "raise") if value == "not there" else value


def large_and_late(size):
    """Return so much that it takes two to write it; a SIGALRM meanwhile raises."""

    def interrupt(*_):
        raise TimeoutError("late")

    signal.signal(signal.SIGALRM, interrupt)
    return "x" * size


def text_of(size):
    return "x" * size


def fail_at_length(value):
    if value == "fail":
        raise ValueError("no " + "\0" * 100_000)
    return value


def fork_and_leave():
    """Make a copy that leaves as a script does, with a status of its own."""
    if (pid := os.fork()) == 0:
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def _decorated(function):
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


decorated_double_later = _decorated(double_later)
decorated_load_later = _decorated(load_later)
