"""Lines of JSON and of text: blank, cut, joined, and in any encoding that has lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_ipc._errors import EncodeError, ProtocolError
from worker_ipc.codecs import JsonLines, TextLines


def feed(decoder, data, size):
    return [message for start in range(0, len(data), size) for message in decoder.feed(data[start : start + size])]


@pytest.mark.fault(65)
@pytest.mark.wire("A7")
def test_blank_lines_are_skipped_and_crlf_is_accepted():
    data = b'\n\r\n{"a":1}\r\n \t\r\n\n2\n'
    for size in (1, 3, 100):
        assert feed(JsonLines().decoder(100), data, size) == [{"a": 1}, 2]


@pytest.mark.fault(54)
@pytest.mark.wire("A7")
@pytest.mark.parametrize("bad", [b"garbage", b"[1", b"1,2", b"18446744073709551616", b'"\xff"', b"NaN"])
def test_good_lines_before_a_bad_one_are_kept(bad):
    with pytest.raises(ProtocolError) as caught:
        JsonLines().decoder(1000).feed(b'{"a":1}\n\n"\\ud800"\n' + bad + b"\n3\n")
    assert caught.value.received == ({"a": 1}, "\ud800")


def test_lines_that_are_json_only_together_are_refused():
    for data in (b"[1\n2]\n", b'{"a":1\n"b":2}\n', b"1,2\n[3\n4]\n"):
        with pytest.raises(ProtocolError):
            JsonLines().decoder(1000).feed(data)


@pytest.mark.fault(55)
@pytest.mark.wire("A6")
def test_half_a_line_of_json_is_never_a_message():
    decoder = JsonLines().decoder(1000)
    assert decoder.feed(b'1\n{"a":1}') == [1]
    assert decoder.pending == 7
    assert decoder.eof() == []
    assert decoder.pending == 7


def test_the_last_line_of_text_needs_no_newline():
    decoder = TextLines().decoder(1000)
    assert decoder.feed(b"a\r\nb\r") == ["a"]
    assert decoder.pending == 2
    assert decoder.eof() == ["b"]
    assert decoder.pending == 0
    assert decoder.eof() == []


@pytest.mark.parametrize("text", ["a\nb", "\n", "a\r", 1, b"a", None])
def test_a_text_that_would_not_arrive_as_one_is_refused(text):
    with pytest.raises(EncodeError):
        TextLines().encode(text)


def test_text_may_have_any_encoding_with_a_newline():
    for encoding in ("latin-1", "shift_jis", "gb18030", "utf-8", "cp1252"):
        codec = TextLines(encoding)
        assert codec.decoder(100).feed(codec.encode("a~")) == ["a~"]
    for encoding in ("utf-16", "utf-32", "utf-8-sig", "cp037"):
        with pytest.raises(ValueError, match="must write a newline as the byte 10"):
            TextLines(encoding)
    with pytest.raises(EncodeError):
        TextLines("ascii").encode("é")
    with pytest.raises(LookupError):
        TextLines(errors="nonsense").decoder(10).feed(b"\xff\n")


@pytest.mark.fault(60)
def test_text_that_does_not_decode_is_refused_or_escaped():
    with pytest.raises(ProtocolError, match="not text in utf-8") as caught:
        TextLines().decoder(100).feed(b"good\n\xff\nafter\n")
    assert caught.value.received == ("good",)
    codec = TextLines(errors="surrogateescape")
    assert codec.decoder(100).feed(b"\xff\n") == ["\udcff"]
    assert codec.encode("\udcff") == b"\xff\n"


@given(st.text())
def test_every_text_arrives_or_is_refused(text):
    codec = TextLines()
    try:
        line = codec.encode(text)
    except EncodeError:
        assert "\n" in text or text.endswith("\r") or any("\ud800" <= c <= "\udfff" for c in text)
        return
    assert codec.decoder(1000).feed(line) == [text]
