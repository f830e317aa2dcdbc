"""Pickled moves Python objects between Pythons that trust each other: arrays without copies, nothing by default."""

import array
import ctypes
import pickle
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_ipc._errors import EncodeError, MessageTooLarge, ProtocolError
from worker_ipc.codecs import Pickled

MAX = 2**20


def sent(*messages):
    codec = Pickled()
    decoder = codec.decoder(MAX)
    return decoder.feed(b"".join(bytes(piece) for message in messages for piece in codec.encode(message)))


class Array:
    """What an array library does: pickles its memory out of band, and is rebuilt around memory that it is given."""

    def __init__(self, memory):
        self.memory = memoryview(memory)

    def __reduce_ex__(self, protocol):
        return Array, (pickle.PickleBuffer(self.memory),)


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("no")


class Bomb:
    def __reduce__(self):
        return _explode, ()


def _explode():
    raise RuntimeError("boom")


def address(view):
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


@given(st.lists(st.binary() | st.text() | st.integers() | st.floats(allow_nan=False) | st.frozensets(st.integers())))
def test_any_object_arrives_as_it_is(message):
    assert sent(message, (message,)) == [message, (message,)]


def test_types_that_json_lacks_are_kept():
    message = {1: (2, {3}), "a": b"x", "nan": [10**50, 1j], None: bytearray(b"y")}
    [arrived] = sent(message)
    assert arrived == message
    assert type(arrived["a"]) is bytes


def test_an_array_is_sent_from_where_it_lies():
    memory = bytearray(b"x" * 1000)
    pieces = Pickled().encode(Array(memory))
    memory[0:1] = b"y"
    assert any(memoryview(piece).nbytes == 1000 and bytes(piece).startswith(b"y") for piece in pieces)
    assert sum(memoryview(piece).nbytes for piece in pieces if not isinstance(piece, memoryview)) < 400


def test_arrays_arrive_as_views_of_one_received_block():
    first, second = sent([Array(bytearray(b"a" * 100)), Array(bytearray(b"b" * 100))])[0]
    assert bytes(first.memory) == b"a" * 100
    assert not first.memory.readonly
    assert first.memory.obj is second.memory.obj
    assert address(first.memory) % 16 == address(second.memory) % 16 == 0
    first.memory[0:1] = b"c"
    assert bytes(first.memory[:2]) == b"ca"


def test_a_read_only_array_arrives_read_only():
    assert sent(Array(b"a" * 100))[0].memory.readonly


def test_elements_wider_than_a_byte_keep_their_bytes():
    numbers = array.array("d", [1.5, 2.5])
    assert memoryview(sent(Array(numbers))[0].memory).cast("B").cast("d").tolist() == [1.5, 2.5]


def test_an_empty_array_is_one_too():
    assert sent([Array(bytearray()), 1])[0][0].memory.nbytes == 0


@pytest.mark.parametrize("message", [lambda: 0, Unpicklable(), (i for i in ()), [Array(memoryview(b"abcd")[::2])]])
def test_what_cannot_be_pickled_is_refused(message):
    with pytest.raises(EncodeError, match="cannot be pickled"):
        Pickled().encode(message)


def test_a_pickle_that_cannot_be_loaded_here_is_a_protocol_error_after_those_that_could():
    with pytest.raises(ProtocolError, match="cannot be loaded: RuntimeError: boom") as caught:
        sent(1, Bomb(), 2)
    assert caught.value.received == (1,)


def test_what_stands_for_a_pickle_that_cannot_be_loaded_is_for_a_subclass_to_say():
    class Told(Pickled):
        def load(self, body, buffers):
            try:
                return super().load(body, buffers)
            except ProtocolError as error:
                return type(error.__cause__).__name__

    frames = b"".join(bytes(piece) for message in (1, Bomb(), Array(b"a")) for piece in Pickled().encode(message))
    first, told, last = Told().decoder(MAX).feed(frames)
    assert (first, told, bytes(last.memory)) == (1, "RuntimeError", b"a")


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
def test_frames_may_come_in_any_chunks(size):
    messages = [1, "x" * 100, Array(b"a" * 40), 2, "y" * 5000, 3]
    data = b"".join(bytes(piece) for message in messages for piece in Pickled().encode(message))
    decoder = Pickled().decoder(MAX)
    arrived = [m for start in range(0, len(data), size) for m in decoder.feed(data[start : start + size])]
    plain = [bytes(m.memory) if isinstance(m, Array) else m for m in arrived]
    assert plain == [1, "x" * 100, b"a" * 40, 2, "y" * 5000, 3]


@pytest.mark.parametrize("data", [b'{"type":"x"}\n', b"\x80WP4" + bytes(12), b"\x00", b"\x80W{"])
def test_what_is_not_a_frame_is_refused_by_its_first_bytes(data):
    with pytest.raises(ProtocolError, match=r"not a frame of Pickled\(\)"):
        Pickled().decoder(MAX).feed(data)


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<4sIQ", b"\x80WP5", 0, 2**63),
        struct.pack("<4sIQ", b"\x80WP5", 2**32 - 1, 0),
        struct.pack("<4sIQQ", b"\x80WP5", 1, 1, 2**64 - 1),
        struct.pack("<4sIQQQ", b"\x80WP5", 2, 10, MAX, MAX),
    ],
)
def test_lengths_above_the_limit_are_refused_before_anything_is_reserved(head):
    with pytest.raises(MessageTooLarge):
        Pickled().decoder(MAX).feed(head)


def test_a_frame_without_a_pickle_is_refused():
    with pytest.raises(ProtocolError, match="cannot be loaded"):
        Pickled().decoder(MAX).feed(struct.pack("<4sIQ", b"\x80WP5", 0, 0))


def test_pending_counts_what_has_come():
    codec = Pickled()
    data = b"".join(map(bytes, codec.encode("x" * 100)))
    decoder = codec.decoder(MAX)
    assert decoder.feed(data[:10]) == []
    assert decoder.pending == 10
    assert decoder.feed(data[10:16]) == []
    assert decoder.pending == 16  # the head was understood, and nothing of what it announces has come
    assert decoder.feed(data[16:50]) == []
    assert decoder.pending == 50
    assert decoder.feed(data[50:]) == ["x" * 100]
    assert decoder.pending == 0
