"""The framing of language servers: headers as they are written in the wild, and limits on what may come."""

import pytest

from worker_ipc._errors import EncodeError, MessageTooLarge, ProtocolError
from worker_ipc.codecs import ContentLength


def feed(decoder, data, size):
    return [message for start in range(0, len(data), size) for message in decoder.feed(data[start : start + size])]


def outcome(decoder, data, size):
    """Return the messages, those of the error included, and the error that ended them, if one did."""
    got = []
    try:
        for start in range(0, len(data), size):
            got += decoder.feed(data[start : start + size])
    except ProtocolError as error:
        return [*got, *error.received], error
    return got, None


def header(*fields, body=b"{}"):
    return b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def test_a_frame_is_what_the_specification_says():
    assert ContentLength().encode({"é": 1}) == b"Content-Length: 8\r\n\r\n" + '{"é":1}'.encode()


@pytest.mark.parametrize(
    "frame",
    [
        header(b"content-length:2"),
        header(b"CONTENT-LENGTH: \t2 "),
        header(b"Content-Length: 2", b"Content-Type: application/vscode-jsonrpc; charset=utf-8"),
        header(b'Content-Type: x; charset="UTF-8"', b"Content-Length: 2"),
        header(b"Content-Type: application/vscode-jsonrpc; charset=utf8", b"Content-Length: 2"),
        header(b"X-Other: 1:2", b"Content-Length: 2", b"Content-Length: 2"),
        header(b"Content-Length: 5", body=b"{ \n\n}"),
    ],
)
def test_headers_are_taken_as_they_are_used(frame):
    for size in (1, 5, 1000):
        assert feed(ContentLength().decoder(100), frame, size) == [{}]


@pytest.mark.parametrize(
    "frame",
    [
        header(),
        header(b"Content-Type: x"),
        header(b"Content-Length"),
        header(b"Content-Length: "),
        header(b"Content-Length: -2"),
        header(b"Content-Length: +2"),
        header(b"Content-Length: 2.0"),
        header(b"Content-Length: 0x2"),
        header("Content-Length: ٢".encode()),
        header(b"Content-Length: " + b"9" * 5000),
        header(b"Content-Length: 2", b"Content-Length: 3"),
        header(b"Content-Length: 2", b"Content-Type: x; charset=latin-1"),
        header(b"Content-Length: 0"),
        header(b"Content-Length: 1"),
        header(b"Content-Length: 3", body=b"NaN"),
        b"{}\r\n\r\n",
        b"x" * 5000,
        b"Content-Length: 2\n\n{}" + b" " * 5000,
    ],
)
def test_a_broken_header_is_refused(frame):
    whole = ContentLength().encode(1) + frame
    for size in (1, 10**6):
        got, error = outcome(ContentLength().decoder(100), whole, size)
        assert got == [1]
        assert isinstance(error, ProtocolError)


def test_a_length_above_the_limit_is_refused_before_the_body_comes():
    with pytest.raises(MessageTooLarge):
        ContentLength().decoder(100).feed(b"Content-Length: 101\r\n\r\n")


def test_pending_counts_what_has_come():
    decoder = ContentLength().decoder(100)
    for byte in header(b"Content-Length: 2", body=b"{"):
        before = decoder.pending
        assert decoder.feed(bytes([byte])) == []
        assert decoder.pending == before + 1  # also when the header is understood, and nothing of the body has come
    assert decoder.feed(b"}C") == [{}]
    assert decoder.pending == 1


def test_the_rules_for_values_are_those_of_json_lines():
    with pytest.raises(EncodeError):
        ContentLength().encode(float("nan"))
    with pytest.raises(EncodeError):
        ContentLength(interop="node").encode(2**53)
    assert ContentLength().decoder(100).feed(header(b"Content-Length: 8", body=b'"\\ud800"')) == ["\ud800"]
