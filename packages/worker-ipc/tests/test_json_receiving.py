"""What a peer may legally send is read exactly; everything else is a ProtocolError by a written rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_ipc._errors import EncodeError, ProtocolError
from worker_ipc.codecs import ContentLength, JsonLines

MAX = 2**20


def received(line):
    return JsonLines().decoder(MAX).feed(line + b"\n")


@pytest.mark.wire("F7")
@pytest.mark.fault(61)
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (rb'"\ud800"', "\ud800"),  # JSON.stringify and json.dumps write it for a lone surrogate
        (rb'{"\uDFFF":"\ud83d\ude00\uD83D"}', {"\udfff": "\U0001f600\ud83d"}),
        (rb'["\udcff", 1e5, true, null, 12345678901234567890]', ["\udcff", 1e5, True, None, 12345678901234567890]),
    ],
)
def test_a_lone_surrogate_from_javascript_is_read(line, message):
    assert received(line) == [message]


@pytest.mark.fault(61)
def test_a_lone_surrogate_that_was_received_cannot_be_sent_on():
    with pytest.raises(EncodeError, match="lone surrogate"):
        JsonLines().encode(received(rb'["\ud800"]')[0])


@pytest.mark.wire("F7")
@pytest.mark.fault(62)
@pytest.mark.parametrize(
    "number", ["18446744073709551616", "-9223372036854775809", "1" * 300, "1" * 5000, "1e400", "-1e999", "1E400"]
)
@pytest.mark.parametrize("frame", ["%s", "[1,%s]", '{"a":{"b":%s}}', r'["\ud800",%s]', "[\t %s ]", '{"a":1,"b":[%s]}'])
def test_a_number_that_would_not_arrive_exactly_is_refused(number, frame):
    with pytest.raises(ProtocolError):
        received((frame % number).encode())


@pytest.mark.fault(62)
@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "1e400"])
@pytest.mark.parametrize("beside", ["", "0," * 1000], ids=["few values", "many values"])
def test_it_is_found_beside_a_large_text(number, beside):
    text = "x" * 100_000
    assert received(f'[{beside}"{text}",{{"a":[18446744073709551615]}}]'.encode())[0][-1] == {"a": [2**64 - 1]}
    with pytest.raises(ProtocolError):
        received(f'[{beside}"{text}",{{"a":[{number}]}}]'.encode())


@pytest.mark.fault(62)
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"[18446744073709551615,1e20,18446744073709551616.0]", [2**64 - 1, 1e20, 2.0**64]),
        (b'{"id":"18446744073709551616"}', {"id": "18446744073709551616"}),
        (b'{"id":"18446744073709551616","x":1e300}', {"id": "18446744073709551616", "x": 1e300}),
        (b"0.12345678901234567890123", 0.12345678901234567890123),
        (b"1764000000123456789", 1764000000123456789),
        (b"-0", 0),
        (b"1e-400", 0.0),
    ],
)
def test_a_number_that_fits_is_read(line, message):
    assert received(line) == [message]


@given(st.integers(-(10**25), 10**25), st.integers(0, 12), st.booleans())
def test_an_integer_arrives_exactly_or_not_at_all(number, offset, in_list):
    line = b" " * offset + (f"[{number},1.5]" if in_list else f"{number}").encode()
    if -(2**63) <= number < 2**64:
        assert received(line) == [[number, 1.5] if in_list else number]
    else:
        with pytest.raises(ProtocolError):
            received(line)


@pytest.mark.fault(60)
@pytest.mark.parametrize(
    "line",
    [
        *(b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82', b"\xfe"),
        *(b'\xef\xbb\xbf{"a":1}', b"\x00", b'"\x00"', b'["\\ud800", "\xff"]'),
    ],
)
def test_bytes_that_are_not_utf_8_text_are_refused(line):
    with pytest.raises(ProtocolError, match="not"):
        received(line)


@pytest.mark.fault(54)
@pytest.mark.parametrize(
    "line",
    [
        *(b"NaN", b"Infinity", b"-Infinity", b"[1,]", b"{'a':1}", b"undefined", b"garbage", b"01", b"1.", b"{}{}"),
        *(b"1,2", b'{"a":1', b'"a', b'"\\x"', b'["\\ud800",NaN]', b'"\\ud8"', b"\x0b1", b"\x1c", b"[1 2]", b"\\ud800"),
    ],
)
def test_what_is_not_json_is_refused_with_an_excerpt(line):
    with pytest.raises(ProtocolError, match="not ") as caught:
        received(line)
    assert repr(line[:4])[2:-1] in str(caught.value)


def test_an_excerpt_is_short():
    with pytest.raises(ProtocolError) as caught:
        received(b"x" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.fault(58)
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'["\\ud800",['])
@pytest.mark.parametrize("levels", [1025, 200_000])
def test_nesting_without_end_is_refused(opening, levels):
    with pytest.raises(ProtocolError):
        received(opening * levels)
    closing = {b"[": b"]", b'{"a":': b"}", b'["\\ud800",[': b"]]"}[opening]
    with pytest.raises(ProtocolError):
        received(opening * levels + b"1" + closing * levels)


@pytest.mark.fault(58)
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("codec", [JsonLines(), ContentLength()], ids=repr)
def test_digits_are_looked_for_at_any_depth_that_may_be_received(codec, opening):
    closing = {b"[": b"]", b'{"a":': b"}"}[opening]
    deep = opening * 1024 + b'"12345678901234567890"' + closing * 1024
    header = b"Content-Length: %d\r\n\r\n" if isinstance(codec, ContentLength) else b""
    data = b"".join((header % len(document) if header else b"") + document for document in (b"1\n", deep + b"\n"))
    first, second = codec.decoder(MAX).feed(data)
    assert first == 1
    for _ in range(1024):
        [second] = second.values() if opening == b'{"a":' else second
    assert second == "12345678901234567890"


@pytest.mark.fault(65)
def test_of_doubled_keys_the_last_wins_and_proto_is_a_key_like_any_other():
    assert received(b'{"a":1,"a":2}') == [{"a": 2}]
    assert received(b'{"\\ud800":1,"\\ud800":2}') == [{"\ud800": 2}]
    assert received(b'{"__proto__":{"x":1}}') == [{"__proto__": {"x": 1}}]
