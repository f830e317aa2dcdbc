"""The codecs cut bytes into messages: in any chunking the same, in bounded memory, in linear time."""

import json
import time
import tracemalloc
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_ipc import codecs
from worker_ipc._errors import MessageTooLarge, ProtocolError
from worker_ipc.codecs import ContentLength, JsonLines, Pickled, TextLines

CODECS = [JsonLines(), TextLines(), ContentLength(), Pickled()]
MESSAGES = {
    JsonLines: [{"type": "a"}, [], "é\n", None, {"n": 2**64 - 1, "deep": [[[1.5]]]}],
    TextLines: ["a", "", "é", " x ", "\u2028 \x0b \x1c \x85"],
    ContentLength: [{"type": "a"}, [], "é\n", None, {"n": 2**64 - 1}],
    Pickled: [{"a": (1, {2})}, b"x" * 100, bytearray(b"y" * 17), None, 10**50],
}
every_codec = pytest.mark.parametrize("codec", CODECS, ids=repr)


def encoded(codec, message):
    data = codec.encode(message)
    return data if isinstance(data, bytes) else b"".join(bytes(piece) for piece in data)


def frames(codec, messages=None):
    return b"".join(encoded(codec, message) for message in (messages or MESSAGES[type(codec)]))


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


@every_codec
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10**6])
def test_chunks_do_not_matter(codec, size):
    decoder = codec.decoder(10**6)
    assert feed(decoder, frames(codec), size) == MESSAGES[type(codec)]
    assert decoder.pending == 0
    assert list(decoder.eof()) == []


@every_codec
@given(data=st.data())
def test_any_chunking_gives_the_same_messages(codec, data):
    whole = frames(codec)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    decoder = codec.decoder(10**6)
    got = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        got += decoder.feed(whole[start:end])
    assert got == MESSAGES[type(codec)]


@every_codec
def test_a_decoder_keeps_no_reference_to_what_it_is_fed(codec):
    decoder = codec.decoder(10**6)
    buffer = bytearray(7)
    got = []
    data = frames(codec)
    for start in range(0, len(data), 7):
        chunk = data[start : start + 7]
        buffer[: len(chunk)] = chunk
        got += decoder.feed(memoryview(buffer)[: len(chunk)])
        buffer[:] = b"\xff" * 7
    assert got == MESSAGES[type(codec)]


@every_codec
@given(
    chunks=st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", b"{", b'"\\ud800"', b"Content-Length: 3\r\n\r\n"]))
)
def test_any_bytes_are_messages_or_a_protocol_error(codec, chunks):
    if isinstance(codec, Pickled):
        chunks = [chunk.replace(b"\x80", b"") for chunk in chunks]  # a pickle from a stranger may do anything
    decoder = codec.decoder(64)
    held = 0
    try:
        for chunk in chunks:
            decoder.feed(chunk)
            held = max(held, decoder.pending)
        decoder.eof()
    except ProtocolError:
        pass
    assert held <= 64 + (4096 if isinstance(codec, ContentLength) else 0)


@every_codec
@given(data=st.data())
def test_a_damaged_stream_gives_the_same_in_any_chunking(codec, data):
    whole = bytearray(frames(codec))
    position = data.draw(st.integers(0, len(whole) - 1))
    if isinstance(codec, Pickled):
        position %= 16  # in the head: what a damaged pickle does is pickle's business
    whole[position] ^= data.draw(st.integers(1, 255))
    ends = [outcome(codec.decoder(10**4), bytes(whole), size) for size in (1, 5, 10**6)]
    assert ends[0][0] == ends[1][0] == ends[2][0]
    assert type(ends[0][1]) is type(ends[1][1]) is type(ends[2][1])


@every_codec
def test_two_decoders_of_one_codec_share_nothing(codec):
    data = frames(codec)
    one, other = codec.decoder(10**6), codec.decoder(10**6)
    cut = len(encoded(codec, MESSAGES[type(codec)][0])) + 1
    got = list(one.feed(data[:cut]))
    assert list(other.feed(data)) == MESSAGES[type(codec)]
    assert got + list(one.feed(data[cut:])) == MESSAGES[type(codec)]


LARGE = {
    JsonLines: "x" * 1000,
    TextLines: "x" * 1000,
    ContentLength: "x" * 1000,
    Pickled: b"x" * 1000,
}


@every_codec
@pytest.mark.parametrize("size", [1, 100, 10**6])
@pytest.mark.fault(57)
def test_a_message_above_the_limit_is_refused_whole_and_those_before_it_are_kept(codec, size):
    small = MESSAGES[type(codec)][0]
    data = frames(codec, [small, small, LARGE[type(codec)], small])
    got, error = outcome(codec.decoder(500), data, size)
    assert got == [small, small]
    assert isinstance(error, MessageTooLarge)
    assert "max_message=500" in str(error)


@every_codec
def test_a_message_at_the_limit_is_delivered(codec):
    message = LARGE[type(codec)]
    data = encoded(codec, message)
    limit = {JsonLines: len(data) - 1, TextLines: len(data) - 1, ContentLength: 1002, Pickled: len(data)}[type(codec)]
    for size in (1, 10**6):
        assert feed(codec.decoder(limit), data, size) == [message]
        with pytest.raises(MessageTooLarge):
            feed(codec.decoder(limit - 1), data, size)


@every_codec
@pytest.mark.fault(56)
def test_a_message_without_end_is_refused_in_bounded_memory(codec):
    begin = {
        JsonLines: b'"',
        TextLines: b"",
        ContentLength: b"Content-Length: 1000000\r\n\r\n",
        Pickled: encoded(Pickled(), bytes(1_000_000))[:64],
    }[type(codec)]
    limit = 900_000
    decoder = codec.decoder(limit)
    tracemalloc.start()
    try:
        with pytest.raises(MessageTooLarge):
            any(decoder.feed(chunk) for chunk in [begin, *repeat(b"x" * 10_000, 1000)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * limit


def seconds(codec, data, size):
    decoder = codec.decoder(64 * 2**20)
    start = time.process_time()
    view = memoryview(data)
    got = 0
    for offset in range(0, len(data), size):
        got += len(decoder.feed(view[offset : offset + size]))
    assert got == 1
    return time.process_time() - start


@every_codec
@pytest.mark.fault(67)
@pytest.mark.wire("B5")
@pytest.mark.parametrize(("size", "length"), [(2048, 2**21), (1, 2**17)])
def test_a_large_message_takes_linear_time(codec, size, length):
    def message(n):
        return b"x" * n if isinstance(codec, Pickled) else "x" * n

    small, large = encoded(codec, message(length // 8)), encoded(codec, message(length))
    seconds(codec, small, size)
    # The best of several: memory that is new to the process costs a page fault per page, the first times.
    quick, slow = (min(seconds(codec, data, size) for _ in range(9)) for data in (small, large))
    assert slow / quick < 30  # linear is 8 (up to 13, as long as both fit into the cache), quadratic 64 and more


@pytest.mark.fault(67)
@pytest.mark.parametrize("codec", [JsonLines(), ContentLength()], ids=repr)
def test_twenty_megabytes_byte_by_byte(codec):
    text = "x" * (20 * 2**20)
    data = encoded(codec, text)
    decoder = codec.decoder(64 * 2**20)
    cut = len(data) - 100_000  # one by one, behind all the others that are pending: a copy of those each time is 2 TB
    decoder.feed(data[:cut])
    feed_one = decoder.feed
    for byte in memoryview(data)[cut:-1]:
        assert not feed_one(bytes((byte,)))
    assert decoder.feed(data[-1:]) == [text]


def test_everything_public_can_be_reached():
    for name in codecs.__all__:
        assert getattr(codecs, name) is not None
        assert name == "Buffer" or getattr(codecs, name).__name__ == name
    assert dir(codecs) == sorted(codecs.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = codecs.Nothing


def test_json_dumps_of_the_standard_library_speaks_the_same_lines():
    line = json.dumps({"a": "\ud800"}).encode() + b"\n"
    assert JsonLines().decoder(100).feed(line) == [{"a": "\ud800"}]
