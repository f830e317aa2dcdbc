"""A signal handler of the program runs at any moment: it may send, and it may raise, and the wire stays whole."""

import json
import os
import select
import signal

import pytest

pytestmark = pytest.mark.usefixtures("no_leaks")

PRELUDE = "import os, sys\nfrom worker_ipc import blocking\n"
INTERRUPTED = """
    import signal
    from worker_ipc.codecs import JsonLines

    class Decoder:
        "Is interrupted by a signal before it decodes the first bytes."
        def __init__(self, decoder):
            self._decoder, self._interrupt = decoder, [signal.SIGUSR1]
        @property
        def pending(self):
            return self._decoder.pending
        def feed(self, data):
            if self._interrupt:
                os.kill(os.getpid(), self._interrupt.pop())
            return self._decoder.feed(data)

    class Codec:
        encode = staticmethod(JsonLines().encode)
        def decoder(self, max_message):
            return Decoder(JsonLines().decoder(max_message))

    channel = blocking.open_parent(codec=Codec())
"""


@pytest.mark.stress
@pytest.mark.fault(75)
def test_a_handler_that_sends_all_the_time_never_cuts_into_a_message(raw_child):
    child = raw_child("""
        import signal
        sent, refused = [], []
        def tick(*args):
            try:
                channel.send("tick")
                sent.append(1)
            except RuntimeError:
                refused.append(1)
        signal.signal(signal.SIGALRM, tick)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        for n in range(400):
            channel.send("large", {"n": n, "data": "x" * 300_000})
        signal.setitimer(signal.ITIMER_REAL, 0)
        channel.send("end", {"ticks": len(sent)})
    """)
    messages = list(iter(child.receive, None))
    assert [message["n"] for message in messages if message["type"] == "large"] == list(range(400))
    assert [message["type"] for message in messages].count("tick") == messages[-1]["ticks"]


@pytest.mark.stress
@pytest.mark.fault(75)
@pytest.mark.parametrize("attempt", range(8))  # one alone finds the gap about every third time
def test_nothing_follows_what_a_handler_cut_short_wherever_it_raises(raw_child, attempt):
    child = raw_child("""
        import random, signal
        from worker_ipc._errors import ChannelClosed
        class Cut(Exception): pass
        armed = False
        def cut(*args):
            global armed
            if armed:
                armed = False
                raise Cut
        signal.signal(signal.SIGALRM, cut)
        while True:
            try:
                while True:
                    armed = True
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.0006))
                    channel.send("large", {"data": "x" * 300_000})
            except Cut:
                pass
            try:
                channel.send("large")
            except ChannelClosed as error:
                print(error, file=sys.stderr)
                break
    """)
    for line in iter(child.receive_line, None):
        assert json.loads(line)["type"] == "large"
    assert 0 < len(child.receive_rest()) < 300_000
    assert child.wait() == 0
    assert child.stderr == "an exception cut a message short: nothing can follow it\n"


def test_an_exception_while_a_send_waits_for_its_first_byte_harms_nothing(raw_child):
    child = raw_child("""
        import signal
        class Cut(Exception): pass
        def cut(*args): raise Cut
        signal.signal(signal.SIGUSR1, cut)
        n = 0
        try:
            while True:
                channel.send("small", {"n": n, "data": "x" * 1000})
                n += 1
        except Cut:
            pass
        channel.send("after", {"n": n})
    """)
    child.sleeps()
    os.kill(child.process.pid, signal.SIGUSR1)
    *small, after = iter(child.receive, None)
    assert [message["n"] for message in small] == list(range(len(small)))
    assert after == {"type": "after", "n": len(small)}
    child.ends_quietly()


def test_what_a_handler_received_while_its_send_waited_is_not_waited_for_again(raw_child):
    child = raw_child("""
        import signal
        signal.signal(signal.SIGUSR1, lambda *args: channel.send("large", {"data": "x" * 10_000_000}))
        channel.send("ready")
        for message in channel.listen("e"):
            channel.send("got", {"n": message["n"]})
    """)
    assert child.receive() == {"type": "ready"}
    child.sleeps()
    os.kill(child.process.pid, signal.SIGUSR1)
    select.select([child.socket], [], [])
    child.send({"type": "e", "n": 1}, {"type": "e", "n": 2})
    assert child.receive()["type"] == "large"
    assert [child.receive()["n"] for _ in range(2)] == [1, 2]
    child.send({"type": "e", "n": 3})
    assert child.receive()["n"] == 3


def test_what_arrives_while_a_handler_interrupts_the_receiving_comes_in_its_turn(raw_child):
    code = """
    signal.signal(signal.SIGUSR1, lambda *args: channel.send("large", {"data": "x" * 10_000_000}))
    numbers = channel.listen("e")
    channel.send("seen", {"n": [next(numbers)["n"] for _ in range(4)]})
    """
    child = raw_child(INTERRUPTED + code, prelude=PRELUDE)
    child.send({"type": "e", "n": 0}, {"type": "e", "n": 1})
    select.select([child.socket], [], [])
    child.send({"type": "e", "n": 2}, {"type": "e", "n": 3})
    assert child.receive()["type"] == "large"
    assert child.receive() == {"type": "seen", "n": [0, 1, 2, 3]}


def test_a_handler_cannot_receive_in_the_middle_of_the_receiving(raw_child):
    code = """
    refused = []
    def handler(*args):
        try:
            channel.listen_once("e")
        except RuntimeError as error:
            refused.append(str(error))
    signal.signal(signal.SIGUSR1, handler)
    channel.send("seen", {"n": channel.listen_once("e")["n"], "refused": refused})
    """
    child = raw_child(INTERRUPTED + code, prelude=PRELUDE)
    child.send({"type": "e", "n": 1})
    words = "messages are being received: nothing can be received from inside of that"
    assert child.receive() == {"type": "seen", "n": 1, "refused": [words]}


def test_nothing_is_received_after_an_exception_in_the_middle_of_the_receiving(raw_child):
    code = """
    class Cut(Exception): pass
    def cut(*args): raise Cut
    signal.signal(signal.SIGUSR1, cut)
    for _ in range(2):
        try:
            channel.listen_once("e")
        except Exception as error:
            print(type(error).__name__, error, file=sys.stderr)
    """
    child = raw_child(INTERRUPTED + code, prelude=PRELUDE)
    child.send({"type": "e", "n": 1}, {"type": "e", "n": 2})
    assert child.wait() == 0
    cut, closed = child.stderr.splitlines()
    assert cut.strip() == "Cut"
    assert closed == "ChannelClosed an exception cut the receiving short: nothing can be received after it"


@pytest.mark.parametrize("wait", ["channel.listen_once('x')", "channel.send('large', {'data': 'x' * 10_000_000})"])
def test_a_timeout_that_a_handler_raises_is_not_taken_for_the_parents_end(raw_child, wait):
    child = raw_child(f"""
        import signal
        def late(*args): raise TimeoutError("mine")
        signal.signal(signal.SIGUSR1, late)
        try:
            {wait}
        except TimeoutError as error:
            print(error, file=sys.stderr)
    """)
    child.sleeps()
    os.kill(child.process.pid, signal.SIGUSR1)
    child.receive_rest()
    assert child.wait() == 0
    assert child.stderr == "mine\n"


def test_a_wait_that_a_handler_left_by_a_timeout_can_be_repeated(raw_child):
    child = raw_child("""
        import signal
        def late(*args): raise TimeoutError("mine")
        signal.signal(signal.SIGUSR1, late)
        try:
            channel.listen_once("x")
        except TimeoutError as error:
            channel.send("late", {"text": str(error)})
        channel.send("got", {"n": channel.listen_once("x")["n"]})
    """)
    child.sleeps()
    os.kill(child.process.pid, signal.SIGUSR1)
    assert child.receive() == {"type": "late", "text": "mine"}
    child.send({"type": "x", "n": 1})
    assert child.receive() == {"type": "got", "n": 1}
