"""Requests at the blocking end: every one is answered, one at a time, and a failure is an answer too."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("no_leaks")

FUNCTIONS = """
class Silent(Exception):
    def __str__(self): raise RuntimeError("no text")
class Custom(Exception): pass
def fail(kind, *args): raise {**vars(__import__("builtins")), "Silent": Silent, "Custom": Custom}[kind](*args)
def remote():
    from worker_ipc import RemoteError
    raise RemoteError(7, "mine", {"more": 1})
functions = {"add": lambda a, b=0: a + b, "fail": fail, "remote": remote, "none": lambda: None,
             "huge": lambda: fail("ValueError", "x" * 10**6), "set": lambda: {1}, "nan": lambda: float("nan")}
"""


@pytest.fixture
def server(raw_child):
    child = raw_child(FUNCTIONS + "channel.serve(functions)\n")
    yield child
    child.close()
    assert child.wait() == 0


def ask(child, method, params=None, id=1):
    child.send({"jsonrpc": "2.0", "id": id, "method": method, **({} if params is None else {"params": params})})
    return child.receive()


@pytest.mark.parametrize(
    ("method", "params", "result"),
    [
        ("add", [1, 2], 3),
        ("add", {"a": "x", "b": "y"}, "xy"),
        ("add", [1], 1),
        ("none", None, None),
        ("none", [], None),
    ],
)
def test_params_become_arguments(server, method, params, result):
    assert ask(server, method, params) == {"jsonrpc": "2.0", "id": 1, "result": result}


@pytest.mark.parametrize("id", [0, -1, "", "text", 2**53, 1.5, None])
def test_the_id_comes_back_as_it_was(server, id):
    reply = ask(server, "add", [1], id=id)
    assert reply["id"] == id
    assert reply["result"] == 1


@pytest.mark.parametrize(
    ("method", "params", "code", "message", "kind"),
    [
        ("fail", ["ValueError", "reason"], -32000, "reason", "ValueError"),
        ("fail", ["ValueError"], -32000, "ValueError", "ValueError"),
        ("fail", ["KeyError", "k"], -32000, "'k'", "KeyError"),
        ("fail", ["Silent"], -32000, "<no text: str() raised RuntimeError>", "__main__.Silent"),
        ("fail", ["SystemExit", 3], -32000, "3", "SystemExit"),
        ("fail", ["KeyboardInterrupt"], -32000, "KeyboardInterrupt", "KeyboardInterrupt"),
        ("fail", ["GeneratorExit"], -32000, "GeneratorExit", "GeneratorExit"),
        ("fail", ["UnicodeError", "\ud800"], -32000, "\\ud800", "UnicodeError"),
        ("add", [], -32000, None, "TypeError"),
        ("add", {"c": 1}, -32000, None, "TypeError"),
        ("set", [], -32000, None, "worker_ipc.EncodeError"),
        ("nan", [], -32000, None, "worker_ipc.EncodeError"),
    ],
)
def test_what_a_function_raises_is_an_answer(server, method, params, code, message, kind):
    error = ask(server, method, params)["error"]
    assert error["code"] == code
    assert message is None or error["message"] == message
    assert error["data"]["type"].removeprefix("worker_ipc.").endswith(kind.removeprefix("worker_ipc."))
    assert ask(server, "add", [1, 1])["result"] == 2  # and life goes on


def test_the_traceback_is_text_and_begins_in_the_function(server):
    trace = ask(server, "fail", ["Custom", "x"])["error"]["data"]["traceback"]
    assert trace.startswith('Traceback (most recent call last):\n  File "<string>"')
    assert "in fail" in trace
    assert trace.endswith("Custom: x\n")
    assert "worker_ipc" not in trace


def test_a_report_is_never_a_flood(server):
    assert len(json.dumps(ask(server, "huge"))) < 300_000


def test_a_remote_error_passes_as_it_is(server):
    assert ask(server, "remote")["error"] == {"code": 7, "message": "mine", "data": {"more": 1}}


def test_an_unknown_method_is_refused_and_an_unknown_notification_ignored(server):
    server.send({"jsonrpc": "2.0", "method": "nothing"}, {"jsonrpc": "2.0", "method": "add", "params": [1]})
    assert ask(server, "nothing")["error"]["code"] == -32601


@pytest.mark.fault(69)
@pytest.mark.fault(70)
def test_a_reply_with_nobodys_id_is_dropped(server):
    server.send(*({"jsonrpc": "2.0", "id": id, "result": 1} for id in (1, "x", None, True)))
    assert ask(server, "add", [2])["result"] == 2


def test_a_notification_that_fails_is_reported_and_not_answered(raw_child):
    child = raw_child("channel.serve({'fail': lambda: 1 / 0})")
    child.send({"jsonrpc": "2.0", "method": "fail"})
    child.request("fail")
    assert child.receive()["id"] == 1
    child.close()
    assert child.wait() == 0
    assert child.stderr.count("ZeroDivisionError: division by zero") == 1


def test_an_async_function_is_refused_at_once(raw_child):
    child = raw_child("""
        async def f(): pass
        try:
            channel.serve({"f": f})
        except TypeError as error:
            channel.send("refused", {"text": str(error)})
    """)
    assert "worker_ipc.open_parent" in child.receive()["text"]


@pytest.mark.fault(27)
def test_a_crash_costs_what_was_being_answered_and_nothing_before_it(raw_child):
    child = raw_child("channel.serve({'f': lambda n: n if n < 5 else os._exit(7)})")
    child.send(*({"jsonrpc": "2.0", "id": n, "method": "f", "params": [n]} for n in range(9)))
    assert [json.loads(line)["result"] for line in child.receive_rest().splitlines()] == [0, 1, 2, 3, 4]
    assert child.wait() == 7


def test_requests_are_answered_while_events_are_awaited(raw_child):
    child = raw_child("""
        channel.handle("double", lambda n: 2 * n)
        channel.listen_once("go")
        for message in channel.listen("event"):
            channel.send("seen", {"n": message["n"]})
    """)
    child.request("double", 1)
    assert child.receive()["result"] == 2
    child.send({"type": "go"})
    child.request("double", 2)
    child.send({"type": "event", "n": 1})
    child.request("double", 3)
    assert [child.receive().get("result"), child.receive().get("n"), child.receive().get("result")] == [4, 1, 6]


def test_before_the_first_function_requests_are_held(raw_child):
    child = raw_child("""
        channel.listen_once("config")
        channel.serve({"double": lambda n: 2 * n})
    """)
    child.request("double", 1, id=1)
    child.request("other", 1, id=2)
    child.send({"type": "config"})
    child.request("double", 3, id=3)
    assert [child.receive()["id"] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_request_that_is_cancelled_while_it_is_held_is_not_started(raw_child, at_once):
    child = raw_child("""
        started = []
        channel.listen_once("config")
        channel.serve({"f": lambda n: started.append(n) or started})
    """)
    child.send(call(1), call(2))
    if at_once:  # its cancellation is read together with what ends the wait
        child.send({"type": "config"}, cancel(1), call(3))
    else:
        child.send(cancel(1), cancel("nobody"), {"type": "config"}, call(3))
    replies = {reply["id"]: reply for reply in (child.receive() for _ in range(3))}
    assert replies[1]["error"]["code"] == -32800
    assert replies[3]["result"] == [2, 3]


def test_the_two_ends_may_call_each_other(raw_child):
    child = raw_child("""
        def factorial(n):
            return 1 if n == 0 else n * channel.request("factorial", [n - 1])
        channel.serve({"factorial": factorial})
    """)
    child.request("factorial", 5, id="first")
    for depth in range(5, 0, -1):
        call = child.receive()
        assert (call["method"], call["params"]) == ("factorial", [depth - 1])
        if depth > 1:
            child.request("factorial", depth - 1, id=depth)
            continue
        child.send({"jsonrpc": "2.0", "id": call["id"], "result": 1})
        pending = [child.receive() for _ in range(1)]
    for own_id in range(4, 0, -1):
        child.send({"jsonrpc": "2.0", "id": own_id, "result": pending[-1]["result"]})
        pending.append(child.receive())
    assert pending[-1] == {"jsonrpc": "2.0", "id": "first", "result": 120}


@pytest.mark.fault(71)
def test_a_request_has_one_of_four_ends(raw_child):
    child = raw_child("""
        def ask(*args, **options):
            try:
                channel.send("result", {"value": channel.request(*args, **options)})
            except Exception as error:
                channel.send(type(error).__name__, {"text": str(error), "code": getattr(error, "code", None)})
        ask("good", {"a": 1})
        ask("bad")
        ask("slow", timeout=0.01)
        ask("after")
        ask("never")
    """)
    assert child.receive() == {"jsonrpc": "2.0", "id": 1, "method": "good", "params": {"a": 1}}
    child.send({"type": "between"}, {"jsonrpc": "2.0", "id": 1, "result": [1]})
    assert child.receive() == {"type": "result", "value": [1]}
    assert child.receive() == {"jsonrpc": "2.0", "id": 2, "method": "bad"}
    child.send({"jsonrpc": "2.0", "id": 2, "error": {"code": 5, "message": "no"}})
    assert child.receive() == {"type": "RemoteError", "text": "no", "code": 5}
    assert child.receive()["method"] == "slow"
    assert child.receive() == {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 3}}
    assert child.receive()["type"] == "TimeoutError"
    assert child.receive()["id"] == 4
    child.send({"jsonrpc": "2.0", "id": 3, "result": "late"}, {"jsonrpc": "2.0", "id": 4, "result": "own"})
    assert child.receive() == {"type": "result", "value": "own"}
    assert child.receive()["method"] == "never"
    child.socket.shutdown(1)
    assert child.receive() == {"type": "ChannelClosed", "text": "the parent is gone", "code": None}


def cancel(id):
    return {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": id}}


def call(id, method="f"):
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": [id]}


def test_a_cancelled_request_that_was_not_started_is_not(raw_child):
    child = raw_child("""
        started = []
        def f(n):
            started.append(n)
            if n == 1:
                channel.send("running")
                time.sleep(0.05)
            return started
        channel.serve({"f": f})
    """)
    child.send(*map(call, range(1, 6)), cancel(4), cancel("nobody"), cancel([1]), cancel(4))
    assert child.receive() == {"type": "running"}
    child.send(cancel(3))  # seen although the requests before it were read long ago
    replies = {reply["id"]: reply for reply in (child.receive() for _ in range(5))}
    assert replies[3]["error"]["code"] == replies[4]["error"]["code"] == -32800
    assert replies[5]["result"] == [1, 2, 5]
    child.send(cancel(5), call(5), cancel(77), call(77))
    assert child.receive()["result"] == [1, 2, 5, 5]  # a cancellation that comes first is of an older request
    assert child.receive()["result"] == [1, 2, 5, 5, 77]


def test_a_function_may_close_the_channel_to_end_the_program(raw_child):
    child = raw_child("channel.serve({'bye': channel.close})")
    child.request("bye")
    assert child.receive() is None
    child.ends_quietly()


@pytest.mark.parametrize("ends", [False, True])
def test_what_comes_for_a_listener_while_a_function_asks_the_parent_comes_in_order(raw_child, ends):
    """Also if the parent then closes the channel: what was received stays readable."""
    child = raw_child("""
        import os
        channel.handle("ask", lambda: channel.request("back"))
        numbers = []
        for message in channel.listen("e"):
            numbers.append(message["n"])
            if numbers[-1] == 2:
                break
        os.write(2, repr(numbers).encode())
    """)
    child.send({"jsonrpc": "2.0", "id": 1, "method": "ask"})
    asked = child.receive()
    child.send({"type": "e", "n": 1})
    if ends:
        child.close()
        child.wait()
        assert child.stderr == "[1]"
    else:
        child.send({"jsonrpc": "2.0", "id": asked["id"], "result": None})
        assert child.receive() == {"jsonrpc": "2.0", "id": 1, "result": None}
        child.send({"type": "e", "n": 2})
        child.wait()
        assert child.stderr == "[1, 2]"
