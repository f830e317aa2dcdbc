"""Events at the blocking end: in order, none lost, none for the wrong listener, and a quiet end."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_a_conversation_as_in_the_readme(raw_child):
    child = raw_child(
        """
        with open_parent() as channel:
            channel.send("ready")
            for message in channel.listen("request"):
                channel.send("response", {"data": message["data"] * 2})
        """,
        prelude="from worker_ipc.blocking import open_parent\n",
    )
    assert child.receive() == {"type": "ready"}
    for text in ("a-", "b-"):
        child.send({"type": "request", "data": text})
        assert child.receive() == {"type": "response", "data": text * 2}
    child.close()
    child.ends_quietly()


@pytest.mark.wire("A4")
@pytest.mark.fault(76)
@pytest.mark.parametrize("end", ["sys.exit()", "os._exit(0)", "os.kill(os.getpid(), 9)", "channel.close()", ""])
def test_what_was_sent_is_sent_however_the_program_ends(raw_child, end):
    child = raw_child(f"""
        channel.send("large", {{"data": "x" * 8_000_000}})
        for i in range(2000):
            channel.send("small", {{"i": i}})
        {end}
    """)
    lines = child.receive_rest().splitlines()
    assert len(json.loads(lines[0])["data"]) == 8_000_000
    assert [json.loads(line)["i"] for line in lines[1:]] == list(range(2000))
    child.process.wait()


def test_print_is_not_on_the_wire(raw_child):
    child = raw_child("print('noise' * 1000, flush=True); channel.send('signal')")
    assert child.receive_rest() == b'{"type":"signal"}\n'


@pytest.mark.wire("A1")
@pytest.mark.wire("A2")
def test_what_nobody_listened_for_is_kept_for_who_listens_next(raw_child):
    child = raw_child("""
        seen = [channel.listen_once("c")["n"], channel.listen_once("a")["n"]]
        for message in channel.listen("b"):
            seen.append(message["n"])
            if message["n"] == 5:
                break
        seen += [channel.listen_once()["n"], channel.listen_once(None)["n"]]
        channel.send("seen", {"seen": seen})
    """)
    child.send(*({"type": kind, "n": n} for n, kind in enumerate("abacbbac")))
    assert child.receive()["seen"] == [3, 0, 1, 4, 5, 2, 6]


def test_two_loops_each_get_all_of_their_messages(raw_child):
    child = raw_child("""
        inner = channel.listen("a")
        first = next(inner)
        seen = [first["n"]]
        for message in channel.listen():
            seen.append(("all", message["n"]))
            if message["n"] == 2:
                break
        seen += [next(inner)["n"] for _ in range(2)]
        inner.close()
        channel.send("seen", {"seen": seen})
    """)
    child.send(*({"type": "a", "n": n} for n in range(3)))
    assert child.receive()["seen"] == [0, ["all", 1], ["all", 2], 1, 2]


def test_a_wait_may_have_an_end(raw_child):
    child = raw_child("""
        try:
            channel.listen_once("never", timeout=0.01)
        except TimeoutError:
            channel.send("timeout")
        channel.send("got", channel.listen_once("late")["data"])
    """)
    assert child.receive() == {"type": "timeout"}
    child.send({"type": "late", "data": {"n": 1}})
    assert child.receive() == {"type": "got", "n": 1}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("send('x', {'type': 'y'})", "'type'"),
        ("send('x', {'jsonrpc': '2.0'})", "'jsonrpc'"),
        ("send('x', {'cmd': 'NODE_HANDLE_ACK'})", "NODE_"),
        ("send(1)", "must be str"),
        ("send('x', {'v': float('nan')})", "nan"),
        ("send('x', {1: 2})", "keys must be str"),
        ("send('x', {'v': {1}})", "type set"),
        ("notify('x', [b''])", "type bytes"),
        ("request('x', [b''])", "type bytes"),
    ],
)
@pytest.mark.wire("A8")
@pytest.mark.wire("A9")
def test_what_cannot_be_sent_is_refused_and_harms_nothing(raw_child, call, words):
    child = raw_child(f"""
        try:
            channel.{call}
        except ValueError as error:
            channel.send(type(error).__name__, {{"text": str(error)}})
    """)
    refusal = child.receive()
    assert refusal["type"] == "EncodeError"
    assert words in refusal["text"]
    assert child.receive() is None


@pytest.mark.fault(68)
@pytest.mark.wire("F2")
def test_a_handle_is_refused_and_nodes_own_messages_are_not_delivered(raw_child):
    child = raw_child("channel.send('seen', {'n': [channel.listen_once()['n'] for _ in range(2)]})")
    child.send({"cmd": "NODE_HANDLE", "type": "net.Socket", "n": 1}, {"cmd": "NODE_FOO", "n": 2})
    child.send({"cmd": "NODE_", "n": 3}, {"cmd": 5, "n": 4})
    assert child.receive() == {"cmd": "NODE_HANDLE_NACK"}
    assert child.receive() == {"type": "seen", "n": [3, 4]}


@pytest.mark.wire("A10")
def test_closing_with_unread_messages_is_quiet(raw_child):
    child = raw_child("channel.listen_once('go'); channel.close(); channel.close()")
    child.send(*({"type": "flood", "n": n} for n in range(100)), {"type": "go"}, *({"type": "x"} for n in range(100)))
    assert child.receive() is None
    child.ends_quietly()


@pytest.mark.parametrize("wait", ["listen_once()", "request('x')", "send('x')", "notify('x')"])
def test_after_closing_everything_says_so(raw_child, wait):
    child = raw_child(f"""
        channel.close()
        list(channel.listen()), channel.serve()
        with channel:
            channel.{wait}
    """)
    assert child.wait() == 1
    assert "ChannelClosed: this process closed the channel" in child.stderr


@pytest.mark.fault(54)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"garbage\n", "ProtocolError: not JSON"),
        (b"[1]\n", "ProtocolError: a message must be an object"),
        (b"5\n", "ProtocolError: a message must be an object"),
        (b'{"jsonrpc":"2.0","method":5}\n', "ProtocolError"),
        (b'{"jsonrpc":"2.0","id":[],"method":"x"}\n', "ProtocolError"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":3}\n', "ProtocolError"),
        (b'{"jsonrpc":"2.0","id":1}\n', "ProtocolError"),
        (b"x" * 2_000, "MessageTooLarge"),
    ],
)
@pytest.mark.parametrize("wait", ["for m in channel.listen('a'): channel.send('got')", "channel.serve({'x': print})"])
def test_a_parent_that_breaks_the_rules_ends_the_program_after_what_was_right(raw_child, line, words, wait):
    child = raw_child(
        f"""
        with blocking.open_parent(max_message=1000) as channel:
            channel.send("ready")
            {wait}
        """,
        prelude="from worker_ipc import blocking\n",
    )
    assert child.receive() == {"type": "ready"}
    child.socket.sendall(b'{"type":"a"}\n{"type":"a"}\n' + line)
    rest = child.receive_rest()
    assert rest.count(b"got") == (2 if "listen" in wait else 0)
    assert child.wait() == 1
    assert words in child.stderr


@pytest.mark.fault(55)
def test_half_a_message_is_never_delivered(raw_child):
    child = raw_child("""
        try:
            channel.listen_once("a")
        except Exception as error:
            print(type(error).__name__, error.truncated, file=sys.stderr)
    """)
    child.socket.sendall(b'{"type":"a"}')
    child.close()
    assert child.wait() == 0
    assert child.stderr == "ChannelClosed 12\n"


def test_arrays_travel_with_pickled(raw_child):
    from worker_ipc.codecs import Pickled

    child = raw_child(
        """
        from worker_ipc.codecs import Pickled
        import pickle
        with open_parent(codec=Pickled()) as channel:
            channel.send("array", {"data": pickle.PickleBuffer(bytearray(b"x" * 3_000_000)), "set": {1}})
        """,
        prelude="from worker_ipc.blocking import open_parent\n",
    )
    [message] = Pickled().decoder(2**26).feed(child.receive_rest())
    assert message["set"] == {1}
    assert bytes(message["data"]) == b"x" * 3_000_000


def test_a_wait_ends_in_time_while_the_parent_keeps_calling(raw_child):
    child = raw_child("""
        import select
        def f():
            channel.send("running")
            select.select([channel._wire.fd], [], [])  # the next request has come
        channel.handle("f", f)
        try:
            channel.listen_once("never", timeout=0.05)
        except TimeoutError:
            channel.send("timeout")
        channel.serve()
    """)
    child.request("f")
    for _ in range(10_000):
        message = child.receive()
        if message == {"type": "timeout"}:
            return
        if message == {"type": "running"}:
            child.request("f")
    pytest.fail("it goes on for ever")


def test_what_had_arrived_in_time_is_received_although_a_function_took_longer(raw_child):
    child = raw_child("""
        import select
        def work():
            channel.send("running")
            select.select([channel._wire.fd], [], [])  # the event has come
            while time.monotonic() < deadline: pass
        channel.handle("work", work)
        channel.handle("f", lambda: None)
        deadline = time.monotonic() + 1
        channel.send("got", {"n": channel.listen_once("e", timeout=1)["n"]})
    """)
    child.request("work")
    assert child.receive() == {"type": "running"}
    child.send(*({"jsonrpc": "2.0", "id": id, "method": "f"} for id in range(2, 4)), {"type": "e", "n": 1})
    assert [child.receive().get("id") for _ in range(3)] == [1, 2, 3]
    assert child.receive() == {"type": "got", "n": 1}


def test_a_message_goes_to_the_oldest_wait_and_to_every_loop(raw_child):
    """Also when the loop is in a function that is called during that wait."""
    child = raw_child("""
        def loop():
            channel.send("looping")
            for message in channel.listen("x"):
                return message["n"]
        channel.handle("loop", loop)
        channel.send("waited", {"n": channel.listen_once("x")["n"]})
    """)
    child.request("loop")
    assert child.receive() == {"type": "looping"}
    child.send({"type": "x", "n": 1})
    assert child.receive()["result"] == 1
    assert child.receive() == {"type": "waited", "n": 1}


ABANDONED = """
    import gc
    def abandon():
        messages = channel.listen("x")
        assert next(messages)["n"] == 0
        cycle = [messages]
        cycle.append(cycle)
        channel.listen_once("go")  # two more messages wait for that loop
    abandon()
"""
ASK = ["channel.listen_once('x')['n']", "next(channel.listen('x'))['n']"]


@pytest.mark.parametrize("ask", ASK)
def test_a_loop_that_the_collector_ends_in_any_thread_is_left_by_the_thread_that_receives(raw_child, ask):
    code = f"""
    unsubscribe, threads = channel._mailbox.unsubscribe, set()
    def watched(*subscriptions):
        threads.add(threading.current_thread())
        unsubscribe(*subscriptions)
    channel._mailbox.unsubscribe = watched
    collector = threading.Thread(target=gc.collect); collector.start(); collector.join()
    channel.send("seen", {{"n": [{ask} for _ in range(2)], "here": threads == {{threading.main_thread()}}}})
    """
    child = raw_child(ABANDONED + code)
    child.send(*({"type": "x", "n": n} for n in range(3)), {"type": "go"})
    assert child.receive() == {"type": "seen", "n": [1, 2], "here": True}


@pytest.mark.parametrize("ask", ASK)
def test_what_a_loop_had_not_read_goes_to_a_wait_that_has_begun(raw_child, ask):
    code = f"""
    channel.handle("collect", gc.collect)
    channel.send("waiting")
    channel.send("seen", {{"n": [{ask} for _ in range(2)]}})
    """
    child = raw_child(ABANDONED + code)
    child.send(*({"type": "x", "n": n} for n in range(3)), {"type": "go"})
    assert child.receive() == {"type": "waiting"}
    child.sleeps()
    child.request("collect")
    assert child.receive()["id"] == 1
    assert child.receive() == {"type": "seen", "n": [1, 2]}


@pytest.mark.fault(40)
def test_what_the_full_mailbox_drops_is_told_of_once(raw_child):
    child = raw_child("""
        channel.listen_once("stop")
        channel.send("kept", {"count": len([channel.listen_once("job") for _ in range(1000)])})
    """)
    child.send(*[{"type": "job"}] * 1500, {"type": "stop"})
    assert child.receive() == {"type": "kept", "count": 1000}
    assert child.wait() == 0
    assert child.stderr == "nobody listens for 'job', and the mailbox is full: dropped\n"
