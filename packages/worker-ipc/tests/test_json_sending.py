"""What is sent as JSON is what arrives, or an error that names the value and says where it is."""

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_ipc._errors import EncodeError
from worker_ipc.codecs import ContentLength, JsonLines

MAX = 2**20


def sent(message, interop=None):
    codec = JsonLines(interop=interop)
    [arrived] = codec.decoder(MAX).feed(codec.encode(message))
    return arrived


def received(line):
    return JsonLines().decoder(MAX).feed(line + b"\n")


def nested(levels, innermost=None):
    value = [] if innermost is None else [innermost]
    for _ in range(levels - 1):
        value = [value]
    return value


class Colour(enum.Enum):
    RED = "red"
    NONE = None
    NAN = math.nan
    PAIR = (1, 2)


class Text(str):
    __slots__ = ()


class Number(int):
    pass


@dataclasses.dataclass
class Point:
    x: int = 1


ARRIVES = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    2**53 + 1,
    1.5,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    0.1 + 0.2,
    "",
    "null",
    "\x00\x1f\x7f\u0085\u2028\u2029\U0001f600",
    "line\nbreak\r",
    {},
    [],
    {"": {"a": [1, None, {"null": None}]}},
    {"type": "x", "data": None},
    [None, [None, {"a": None, "b": "null", "c": 1.5}]],
    nested(254),
]


@pytest.mark.parametrize("message", ARRIVES, ids=lambda m: repr(m)[:30])
def test_what_json_has_arrives_as_it_is(message):
    arrived = sent(message)
    assert arrived == message
    assert type(arrived) is type(message)


def test_a_negative_zero_keeps_its_sign():
    assert math.copysign(1, sent(-0.0)) == -1


@pytest.mark.parametrize(
    ("message", "arrived"),
    [
        ((1, (2,)), [1, [2]]),
        (Colour.RED, "red"),
        (Colour.NONE, None),
        (Colour.PAIR, [1, 2]),
        ({"a": [enum.IntFlag("F", "A").A]}, {"a": [1]}),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
    ids=repr,
)
def test_three_kinds_arrive_as_their_nearest_relative(message, arrived):
    assert sent(message) == arrived


NONFINITE = [math.nan, math.inf, -math.inf]
REFUSED = {
    "nan": NONFINITE[0],
    "inf": NONFINITE[1],
    "-inf": NONFINITE[2],
    "nan of an enum": Colour.NAN,
    "2**64": 2**64,
    "-2**63-1": -(2**63) - 1,
    "a huge integer": 10**5000,
    "a lone surrogate": "\ud800",
    "a key with a lone surrogate": {"\udfff": 1},
    "an integer key": {1: 2},
    "a None key": {None: 2},
    "a tuple key": {(1, 2): 3},
    "a key of a str subclass": {Text("a"): 1},
    "an enum key": {Colour.RED: 1},
    "bytes": b"x",
    "a bytearray": bytearray(b"x"),
    "a memoryview": memoryview(b"x"),
    "a datetime": datetime.datetime(2020, 1, 1),
    "a date": datetime.date(2020, 1, 1),
    "a time": datetime.time(1),
    "a dataclass": Point(),
    "a namedtuple": collections.namedtuple("N", "a")(1),
    "an OrderedDict": collections.OrderedDict(a=1),
    "a str subclass": Text("a"),
    "an int subclass": Number(1),
    "a set": {1},
    "a Decimal": decimal.Decimal(1),
    "a path": pathlib.Path("/"),
    "a complex": 1j,
    "a range": range(3),
    "an object": object(),
    "an exception": ValueError("x"),
    "260 levels": nested(260),
}


@pytest.mark.fault(64)
@pytest.mark.wire("C9")
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"a": [1, {"b": v}]}, lambda v: (None, (v,))])
@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_would_arrive_as_something_else_is_refused(value, wrap):
    with pytest.raises(EncodeError):
        JsonLines().encode(wrap(value))


@pytest.mark.fault(64)
@pytest.mark.parametrize("value", NONFINITE)
@pytest.mark.parametrize(
    "message",
    [
        lambda v: {"result": v, "other": None},
        lambda v: {"result": None, "other": [None, v]},
        lambda v: [0.5, 1, v, None],
        lambda v: {"text": "null null null", "v": {"w": v}},
    ],
)
def test_a_float_that_is_not_finite_is_found_among_nulls(value, message):
    with pytest.raises(EncodeError, match="JSON does not have"):
        JsonLines().encode(message(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("beside", [[], [None, 0.5] * 1000], ids=["few values", "many values"])
def test_it_is_found_beside_a_large_text(value, beside):
    text = "null" * 30_000
    assert sent([*beside, text, {"a": [0.5, None]}]) == [*beside, text, {"a": [0.5, None]}]
    with pytest.raises(EncodeError, match=r"'a'\]\[1\]"):
        sent([*beside, text, {"a": [0.5, value]}])


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"data": [1, {"x": math.nan}]}, r"message\['data'\]\[1\]\['x'\] is nan"),
        ({"data": {1: 2}}, r"message\['data'\] has the key 1: keys must be str"),
        ({"when": datetime.date(2020, 1, 1)}, r"message\['when'\] is of type date"),
        ({"raw": b"x"}, "base64"),
        ({"file": "\udcff"}, "lone surrogate"),
        ({"n": 2**64}, "send it as text"),
        (Text("x"), r"convert it with str\(\.\.\.\)"),
        ({"v": {1}}, "type set"),
        ({"e": Colour.NAN}, r"message\['e'\]\.value is nan"),
    ],
)
def test_a_refusal_names_the_value_and_where_it_is(message, words):
    with pytest.raises(EncodeError, match=words):
        JsonLines().encode(message)


@pytest.mark.fault(59)
def test_nesting_is_refused_where_it_could_not_be_sent_back():
    with pytest.raises(EncodeError, match="deeper than 254 levels"):
        JsonLines().encode(nested(256))
    [deep] = received(b"[" * 1024 + b"]" * 1024)  # may be received ...
    with pytest.raises(EncodeError, match="deeper than 254 levels"):
        JsonLines().encode(deep)  # ... and is refused when it is sent on


def test_a_deep_message_may_be_sent_from_deep_within_a_program():
    def call(levels):
        return call(levels - 1) if levels else JsonLines().encode([nested(253), None])

    assert b"null" in call(700)  # so that it is searched, value by value


def test_a_cycle_is_refused():
    cycle = []
    cycle.append(cycle)
    with pytest.raises(EncodeError, match="contains itself"):
        JsonLines().encode(cycle)


@pytest.mark.wire("F7")
@pytest.mark.fault(63)
@pytest.mark.parametrize("value", [2**53, -(2**53), 9007199254740993, 2**63])
def test_for_javascript_integers_have_53_bits(value):
    assert sent(value) == value
    for message in (value, {"a": [value]}):
        with pytest.raises(EncodeError, match="not arrive exactly"):
            JsonLines(interop="node").encode(message)


@pytest.mark.fault(63)
def test_for_javascript_the_largest_safe_integer_is_sent():
    assert sent(2**53 - 1, interop="node") == 2**53 - 1
    assert sent(-(2**53) + 1, interop="node") == -(2**53) + 1


def test_an_unknown_interop_is_refused():
    with pytest.raises(ValueError, match="must be None or 'node', got 'deno'"):
        JsonLines(interop="deno")


def test_a_message_is_one_line_of_utf_8():
    assert JsonLines().encode({"a": "é\n"}) == '{"a":"é\\n"}\n'.encode()


def test_codecs_say_what_they_are():
    assert repr(JsonLines()) == "JsonLines()"
    assert repr(JsonLines(interop="node")) == "JsonLines(interop='node')"
    assert repr(ContentLength()) == "ContentLength()"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["null", "12345678901234567890123"]),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), children),
    max_leaves=20,
)
ANYTHING = st.recursive(
    JSON | st.floats() | st.integers() | st.text() | st.binary() | st.tuples(st.integers()),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.integers(), children),
    max_leaves=10,
)


@given(JSON)
def test_sent_equals_received(message):
    assert sent(message) == message


@given(ANYTHING)
def test_sent_equals_received_or_is_refused(message):
    try:
        arrived = sent(message)
    except EncodeError:
        return
    assert arrived == _with_lists(message)


def _with_lists(value):
    if isinstance(value, (list, tuple)):
        return [_with_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_lists(item) for key, item in value.items()}
    return value


@given(JSON)
def test_what_the_standard_library_writes_is_read(message):
    assert received(json.dumps(message).encode()) == [message]
    assert received(json.dumps(message, ensure_ascii=False).encode()) == [message]
