"""When the parent does not read, or is gone: no deadlock, no half line, no growth, no orphan, no noise."""

import builtins
import json
import os
import signal
import socket
import subprocess
import threading

import pytest

from worker_ipc import _watchdog
from worker_testkit import doomed_parent

pytestmark = pytest.mark.usefixtures("no_leaks")


def large(n, size=100_000):
    return {"type": "large", "n": n, "data": "x" * size}


@pytest.mark.fault(72)
@pytest.mark.wire("B3")
def test_two_floods_pass_each_other(raw_child):
    child = raw_child("""
        for n in range(100):
            channel.send("large", {"n": n, "data": "y" * 100_000})
        channel.send("seen", {"n": [channel.listen_once("large")["n"] for _ in range(100)]})
    """)
    child.send(*map(large, range(100)))  # blocks until the child reads, which is in the middle of writing
    assert [child.receive()["n"] for _ in range(100)] == list(range(100))
    assert child.receive()["n"] == list(range(100))


@pytest.mark.wire("B2")
def test_a_parent_that_floods_and_never_reads_ends_the_program(raw_child):
    child = raw_child("""
        try:
            while True:
                channel.send("large", {"data": "y" * 1_000_000})
        except Exception as error:
            print(type(error).__name__, error, file=sys.stderr)
            channel.close()
    """)
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        child.send(*(large(n, 1_000_000) for n in range(100)))
    assert child.wait() == 0
    assert child.stderr.startswith("Overrun more than 67108864 bytes")


def test_a_listener_that_does_not_go_on_holds_only_so_much(raw_child):
    child = raw_child("""
        messages = channel.listen("large")
        next(messages)
        try:
            channel.listen_once("never")
        except Exception as error:
            print(type(error).__name__, file=sys.stderr)
            channel.close()
    """)
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        child.send(*(large(n, 1_000_000) for n in range(100)))
    assert child.wait() == 0
    assert child.stderr == "Overrun\n"


@pytest.mark.fault(74)
def test_threads_may_send_at_once_while_both_ends_flood(raw_child):
    child = raw_child("""
        def send(thread):
            for n in range(50):
                channel.send("t", {"thread": thread, "n": n, "data": "y" * 20_000})
        threads = [threading.Thread(target=send, args=[i]) for i in range(4)]
        for thread in threads: thread.start()
        send(4)
        seen = [channel.listen_once("large")["n"] for _ in range(60)]
        for thread in threads: thread.join()
        channel.send("seen", {"n": seen})
    """)
    flood = threading.Thread(target=child.send, args=[large(n) for n in range(60)])
    flood.start()
    by_thread = {}
    for _ in range(250):
        message = child.receive()
        by_thread.setdefault(message["thread"], []).append(message["n"])
    assert by_thread == {thread: list(range(50)) for thread in range(5)}
    assert child.receive()["n"] == list(range(60))
    flood.join()


def test_another_thread_must_not_receive(raw_child):
    child = raw_child("""
        def receive():
            try:
                channel.listen_once("x")
            except RuntimeError as error:
                channel.send("refused", {"text": str(error)})
        thread = threading.Thread(target=receive); thread.start(); thread.join()
    """)
    assert "only the thread that opened the channel" in child.receive()["text"]


@pytest.mark.fault(75)
def test_nothing_follows_a_message_that_an_exception_cut_short(raw_child):
    child = raw_child("""
        import signal
        class Cut(Exception): pass
        def cut(*args): raise Cut
        signal.signal(signal.SIGUSR1, cut)
        try:
            channel.send("large", {"data": "y" * 10_000_000})
        except Cut:
            pass
        try:
            channel.send("after")
        except Exception as error:
            print(type(error).__name__, error, file=sys.stderr)
    """)
    child.sleeps()
    os.kill(child.process.pid, signal.SIGUSR1)
    rest = child.receive_rest()
    assert 100_000 < len(rest) < 10_000_000
    assert b"\n" not in rest
    assert child.wait() == 0
    assert child.stderr.startswith("ChannelClosed an exception cut a message short")


def test_a_signal_handler_cannot_send_into_the_middle_of_a_message(raw_child):
    child = raw_child("""
        import signal
        refused = []
        def handler(*args):
            try:
                channel.send("inside")
            except RuntimeError as error:
                refused.append(str(error))
        signal.signal(signal.SIGUSR1, handler)
        channel.send("large", {"data": "y" * 10_000_000})
        channel.send("after", {"refused": refused})
    """)
    child.sleeps()
    os.kill(child.process.pid, signal.SIGUSR1)
    assert len(child.receive()["data"]) == 10_000_000
    assert child.receive()["refused"] == ["a message is being written: nothing can be sent from inside of that"]


@pytest.mark.wire("E1")
@pytest.mark.parametrize(
    "code",
    [
        "list(channel.listen())",
        "list(channel.listen('x'))",
        "channel.serve({})",
        "channel.serve({'x': print})",
        "with channel: channel.listen_once('x')",
        "with channel: channel.request('x')",
        "with channel: channel.send('x', {'data': 'y' * 10_000_000})",
        "with channel:\n    while True: channel.send('x')",
    ],
)
def test_the_end_of_the_parent_is_a_quiet_end(raw_child, code):
    child = raw_child(code)
    child.sleeps()
    child.close()
    child.ends_quietly()


def test_the_end_can_be_told_from_a_mistake_in_the_block(raw_child):
    child = raw_child("with channel: raise ValueError('mine')")
    assert child.receive() is None
    assert child.wait() == 1
    assert child.stderr.endswith("ValueError: mine\n")


@pytest.mark.wire("A3")
def test_what_had_arrived_is_read_although_the_parent_is_gone_and_no_answer_can_be_sent(raw_child):
    child = raw_child("""
        channel.listen_once("go")
        sys.stdin.read(0)
        while not os.path.exists(sys.argv[-1]) and os.getppid() == -1: pass
        channel.handle("f", lambda: "x" * 1000)
        seen = [message["n"] for message in channel.listen("n")]
        print(seen, file=sys.stderr)
    """)
    child.send({"type": "go"}, {"type": "n", "n": 1}, {"jsonrpc": "2.0", "id": 1, "method": "f"}, {"type": "n", "n": 2})
    child.close()
    assert child.wait() == 0
    assert child.stderr == "[1, 2]\n"


ORPHAN = """
    import socket
    ours, theirs = socket.socketpair()
    code = {code!r}
    child = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()], start_new_session=True,
        env=dict(os.environ, NODE_CHANNEL_FD=str(theirs.fileno())))
    theirs.close()
    assert ours.recv(100), "the child died before it was ready"
    report(child.pid)
    child.wait()
"""
OPEN = "from worker_ipc.blocking import open_parent\nchannel = open_parent()\nchannel.send('ready')\n"


@pytest.mark.fault(79)
@pytest.mark.parametrize(
    "code",
    [
        "channel.listen_once()",
        "import time\ntime.sleep(1000)",
        "while True: pass",
        "channel.serve({})",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass",
    ],
)
def test_a_child_of_any_parent_is_gone_with_it_also_when_it_is_busy(code):
    with doomed_parent(ORPHAN.format(code=OPEN + code)) as parent:
        parent.reported(1)
        parent.kill()
        assert parent.gone_within(1) == []


OPEN_IN_A_LOOP = """
import anyio, time
from worker_ipc import open_parent
async def main():
    async with open_parent() as channel:
        await channel.send('ready')
        time.sleep(1000)
anyio.run(main, backend={backend!r})
"""


@pytest.mark.fault(79)
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(OPEN + "while True: pass", id="blocking"),
        pytest.param(OPEN_IN_A_LOOP.format(backend="asyncio"), id="asyncio"),
        pytest.param(OPEN_IN_A_LOOP.format(backend="trio"), id="trio"),
    ],
)
def test_where_there_is_no_proc_a_busy_child_is_gone_with_its_parent_all_the_same(code):
    no_proc = """
import os
def listdir(path, before=os.listdir):
    return before(path.replace("/proc", "/no such folder"))
os.listdir = listdir
"""
    with doomed_parent(ORPHAN.format(code=no_proc + code)) as parent:
        parent.reported(1)
        parent.kill()
        assert parent.gone_within(1) == []


def test_the_thread_that_watches_a_parent_imports_nothing(monkeypatch):
    """It may begin when the interpreter has freed the import lock: a child that ended at once then crashed."""
    dead = subprocess.Popen(["true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    threads, kills, opened = [], [], [os.pidfd_open(dead.pid)]

    def refuse(*args):
        raise AssertionError(f"imported {args[0]}")

    monkeypatch.setattr(_watchdog, "_has_lifeline", lambda: False)
    monkeypatch.setattr(_watchdog, "_peer", lambda fd: dead.pid)
    monkeypatch.setattr(_watchdog, "start_new_thread", lambda *call: threads.append(call))
    monkeypatch.setattr(_watchdog, "sleep", lambda seconds: None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", lambda pid: opened[0])
        _watchdog.watch_parent(0)
        [(run, arguments)] = threads
        patch.setattr(os, "kill", lambda *kill: kills.append(kill))
        patch.setattr(builtins, "__import__", refuse)
        run(*arguments)
    assert kills == [(os.getpid(), signal.SIGTERM), (os.getpid(), signal.SIGKILL)]
    os.close(opened[0])
    dead.wait()


def test_the_thread_that_watches_a_parent_is_given_no_signals(raw_child):
    """They would not interrupt what the main thread waits for, and only that one runs handlers."""
    child = raw_child("""
        masks = {}
        for task in os.listdir("/proc/self/task"):
            while int(task) != os.getpid() and "poll" not in open(f"/proc/self/task/{task}/wchan").read():
                pass  # the C library blocks all signals while a thread begins
            with open(f"/proc/self/task/{task}/status") as file:
                masks[int(task) == os.getpid()] = next(line.split()[1] for line in file if line.startswith("SigBlk"))
        channel.send("masks", {"main": masks[True], "watch": masks[False]})
    """)
    masks = child.receive()
    assert int(masks["main"], 16) == 0
    for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        assert int(masks["watch"], 16) >> (number - 1) & 1


def test_a_process_that_holds_both_ends_does_not_watch_itself(monkeypatch):
    """The watch would cost a descriptor for ever; and to whoever closes that one it would answer with SIGTERM."""
    monkeypatch.setattr(_watchdog, "_has_lifeline", lambda: False)
    monkeypatch.setattr(_watchdog, "start_new_thread", lambda *call: pytest.fail("a thread watches"))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = os.listdir("/proc/self/fd")
        _watchdog.watch_parent(theirs.fileno())
        assert os.listdir("/proc/self/fd") == before


def test_under_a_launcher_it_is_the_maker_of_the_channel_who_counts():
    launched = ORPHAN.replace("[sys.executable,", '["sh", "-c", \'"$@"; exit\', "sh", sys.executable,')
    code = OPEN + "import os, time\nos.kill(os.getppid(), 0)\nwhile True: time.sleep(1000)"
    with doomed_parent(launched.format(code=code)) as parent:
        parent.reported(1)
        parent.kill()
        assert parent.gone_within(1) == []


def test_an_interrupt_at_the_terminal_is_the_parents(raw_child):
    code = """
        import signal
        before = signal.getsignal(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        channel.send("alive")
        channel.close()
        channel.close()
        print(before is signal.SIG_IGN, signal.getsignal(signal.SIGINT) is signal.default_int_handler, file=sys.stderr)
    """
    child = raw_child(code, group=False)
    assert child.receive() == {"type": "alive"}
    assert child.wait() == 0
    assert child.stderr == "True True\n"


def test_a_handler_of_the_programs_own_is_left_alone(raw_child):
    child = raw_child(
        """
        signal.signal(signal.SIGINT, lambda *args: channel.send("mine"))
        channel = blocking.open_parent()
        os.kill(os.getpid(), signal.SIGINT)
        """,
        group=False,
        prelude="import os, signal\nfrom worker_ipc import blocking\n",
    )
    assert child.receive() == {"type": "mine"}


def test_a_leader_of_its_own_group_keeps_its_interrupt(raw_child):
    child = raw_child("import signal; channel.send('x', {'d': signal.getsignal(2) is signal.default_int_handler})")
    assert child.receive()["d"] is True


def test_messages_keep_their_order_through_everything(raw_child):
    child = raw_child("""
        for message in channel.listen("n"):
            channel.send("n", {"n": message["n"]})
    """)
    sender = threading.Thread(target=child.send, args=[{"type": "n", "n": n} for n in range(20_000)])
    sender.start()
    assert [json.loads(child.receive_line())["n"] for _ in range(20_000)] == list(range(20_000))
    sender.join()


@pytest.mark.fault(76)
@pytest.mark.parametrize("requests", [0, 1, 3])
def test_what_the_parent_sent_before_it_left_is_received_also_behind_requests(raw_child, requests):
    child = raw_child("""
        channel.handle("f", lambda n: time.sleep(0.02))
        channel.send("ready")
        print(len([message for message in channel.listen("save")]), file=sys.stderr)
    """)
    assert child.receive() == {"type": "ready"}
    child.send(*({"jsonrpc": "2.0", "id": id, "method": "f", "params": [id]} for id in range(requests)))
    child.send({"cmd": "NODE_HANDLE", "type": "net.Socket", "msg": {}}, *[{"type": "save"}] * 3)
    child.close()
    assert (child.wait(), child.stderr) == (0, "3\n")


def test_the_end_of_another_channel_is_not_that_of_the_parent(raw_child):
    child = raw_child("""
        from worker_ipc import ChannelClosed
        channel.listen_once("job")
        raise ChannelClosed("of a child of its own")
    """)
    child.send({"type": "job"})
    assert child.receive() is None
    assert child.wait() == 1
    assert "ChannelClosed: of a child of its own" in child.stderr


@pytest.mark.parametrize("timeout", ["math.inf", "3e6", "1e300"])
def test_a_time_may_be_long(raw_child, timeout):
    child = raw_child(f"""
        import math
        channel.send("got", {{"n": channel.listen_once("x", timeout={timeout})["n"]}})
    """)
    child.sleeps()
    child.send({"type": "x", "n": 1})
    assert child.receive() == {"type": "got", "n": 1}
