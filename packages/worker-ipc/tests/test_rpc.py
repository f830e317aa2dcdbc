"""Requests as objects: ids, replies, errors, without I/O and without a loop."""

import signal
from collections import OrderedDict
from contextlib import suppress
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_ipc import ChannelClosed, ProtocolError, RemoteError
from worker_ipc._rpc import (
    Calls,
    apply,
    check_reply,
    check_request,
    failure,
    notification,
    outcome,
    remote_error,
    request,
)


class Waiter:
    def __init__(self):
        self.results = []

    def done(self):
        return bool(self.results)

    def set_result(self, reply):
        self.results.append(reply)


def reply(id, **body):
    return {"jsonrpc": "2.0", "id": id, **(body or {"result": None})}


def test_a_reply_settles_the_request_with_its_id_and_no_other():
    calls = Calls()
    first, second = Waiter(), Waiter()
    calls.open(first)
    calls.settle(answer := reply(calls.open(second)))
    assert (first.results, second.results) == ([], [answer])


@pytest.mark.fault(70)
def test_the_second_reply_to_one_request_is_counted_and_dropped():
    calls, waiter = Calls(), Waiter()
    id = calls.open(waiter)
    calls.settle(reply(id, result=1))
    calls.settle(reply(id, result=2))
    assert [each["result"] for each in waiter.results] == [1]
    assert calls.late == 1


@pytest.mark.fault(69)
@pytest.mark.parametrize("id", [99, None, "1", True, 1.0, [1], {"a": 1}, -1])
def test_a_reply_with_an_id_that_is_nobodys_is_counted_and_dropped(id):
    calls, waiter = Calls(), Waiter()
    assert calls.open(waiter) == 1
    calls.settle(reply(id))
    assert (waiter.results, calls.late) == ([], 1)


@pytest.mark.fault(71)
def test_a_reply_after_the_request_was_abandoned_is_late():
    calls, waiter = Calls(), Waiter()
    id = calls.open(waiter)
    assert calls.abandon(id)
    assert not calls.abandon(id)
    calls.settle(reply(id))
    assert (waiter.results, calls.late) == ([], 1)


def test_the_end_settles_every_request_once():
    calls, waiters = Calls(), [Waiter(), Waiter()]
    for waiter in waiters:
        calls.open(waiter)
    calls.end(error := ChannelClosed())
    calls.end(error)
    assert [waiter.results for waiter in waiters] == [[error], [error]]


def test_the_result_is_returned_and_an_error_raised():
    assert outcome(reply(1, result=[1])) == [1]
    assert outcome(reply(1, result=None, error=None)) is None
    with pytest.raises(RemoteError, match="no") as raised:
        outcome(reply(1, error={"code": 7, "message": "no", "data": {"a": 1}}))
    assert (raised.value.code, raised.value.data) == (7, {"a": 1})


@pytest.mark.fault(68)
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"error": 7},
        {"error": "text"},
        {"error": {}},
        {"error": {"code": "7", "message": "text"}},
        {"error": {"code": 7}},
        {"error": {"code": 7, "message": None}},
    ],
)
def test_an_object_that_is_neither_request_nor_reply_breaks_the_rules(body):
    with pytest.raises(ProtocolError, match="neither"):
        check_reply({"jsonrpc": "2.0", "id": 1, **body})


@pytest.mark.fault(68)
@pytest.mark.parametrize(
    "message",
    [{"method": 7}, {"method": None}, {"method": "m", "params": 7}, {"method": "m", "params": "text"}]
    + [{"method": "m", "id": id} for id in ([], {}, True)],
)
def test_a_request_with_members_of_the_wrong_kind_breaks_the_rules(message):
    with pytest.raises(ProtocolError, match="not a request"):
        check_request({"jsonrpc": "2.0", **message})


def test_what_breaks_the_rules_may_be_nested_too_deeply_to_be_shown():
    deep = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(ProtocolError, match="not a request"):
        check_request({"jsonrpc": "2.0", "method": 7, "params": deep})
    with pytest.raises(ProtocolError, match="neither"):
        check_reply({"jsonrpc": "2.0", "error": deep})


def test_params_are_positional_or_keyword_arguments():
    def function(*args, **kwargs):
        return args, kwargs

    assert apply(function, None) == ((), {})
    assert apply(function, [1, 2]) == ((1, 2), {})
    assert apply(function, {"a": 1}) == ((), {"a": 1})


@pytest.mark.fault(17)
@pytest.mark.fault(20)
@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_a_function_raises_becomes_text(error):
    try:
        raise error
    except BaseException as raised:
        body = failure(1, raised)["error"]
    assert body["data"]["type"] == type(error).__name__
    assert "test_rpc.py" in body["data"]["traceback"]
    assert body["message"]


def test_a_traceback_of_the_peer_is_shown_with_the_error_and_escaped():
    try:
        raise ValueError("bad \x1b[2J")
    except ValueError as error:
        told = remote_error(failure(1, error)["error"])
    assert (told.message, str(told)) == ("bad \x1b[2J", r"bad \x1b[2J")
    assert told.__notes__[0].startswith("Traceback (most recent call last):\n")
    assert told.__notes__[0].endswith(r"ValueError: bad \x1b[2J")


@pytest.mark.parametrize("data", [None, [], {}, {"traceback": 3}, {"traceback": ""}])
def test_an_error_without_a_traceback_has_no_note(data):
    assert not hasattr(remote_error({"code": 1, "message": "m", "data": data}), "__notes__")


class Unprintable(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)

    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.fault(21)
def test_an_exception_whose_own_text_fails_is_still_reported():
    body = failure(1, Unprintable(1, 2))["error"]
    assert "RuntimeError" in body["message"]
    assert body["data"]["type"].endswith("Unprintable")


@pytest.mark.fault(21)
@pytest.mark.fault("S7")
def test_the_text_of_an_error_is_cut_and_fit_to_be_sent():
    body = failure(1, ValueError("x" * 10**7 + "\udcff"))["error"]
    assert len(body["message"]) < 70_000
    assert len(body["data"]["traceback"]) < 70_000
    failure(1, ValueError("name \udcff"))["error"]["message"].encode()


def test_a_remote_error_passes_through_as_it_is():
    body = failure(1, RemoteError(42, "mine", [1]))["error"]
    assert body == {"code": 42, "message": "mine", "data": [1]}


@pytest.mark.parametrize("error", [RemoteError("E_FAIL", "mine"), RemoteError(None, "mine"), RemoteError(1, ["mine"])])
def test_a_remote_error_that_would_be_no_reply_is_sent_as_text(error):
    reply = failure(1, error)
    check_reply(reply)
    assert reply["error"]["code"] == -32000
    assert "mine" in reply["error"]["message"]


def test_a_remote_error_with_an_enum_for_a_code_is_a_reply_with_any_codec():
    reply = failure(1, RemoteError(signal.SIGTERM, "mine"))
    check_reply(reply)
    assert reply["error"] == {"code": 15, "message": "mine"}


@pytest.mark.parametrize(
    ("params", "plain"), [(range(2), [0, 1]), (OrderedDict(a=1), {"a": 1}), (MappingProxyType({"a": 1}), {"a": 1})]
)
def test_params_are_sent_as_the_list_or_dict_that_they_are_like(params, plain):
    for message in (request(1, "m", params), notification("m", params)):
        assert (message["params"], type(message["params"])) == (plain, type(plain))
        check_request(message)


def test_a_tuple_is_params_too():
    check_request(request(1, "m", (1, 2)))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"jsonrpc": json}, optional=dict.fromkeys(("id", "result", "error"), json)))
def test_any_object_is_a_reply_or_breaks_the_rules(message):
    try:
        check_reply(message)
    except ProtocolError:
        return
    Calls().settle(message)
    with suppress(RemoteError):
        outcome(message)


@given(st.fixed_dictionaries({"jsonrpc": json, "method": json}, optional=dict.fromkeys(("id", "params"), json)))
def test_any_object_with_a_method_is_a_request_or_breaks_the_rules(message):
    try:
        check_request(message)
    except ProtocolError:
        return
    hash(message.get("id"))
