"""Python objects behind a length: for Python processes that trust each other.

    magic        4 bytes   b"\\x80WP5"
    count        u32       number of out-of-band buffers
    pickle       u64       length of the pickle
    buffers      u64 each  their lengths
    the pickle, then each buffer, every one of them padded with zeros to a multiple of 16 bytes

Numbers are little-endian. PEP 574 tells how protocol 5 keeps large buffers (arrays, `pickle.PickleBuffer`) out of the
pickle: here they are written from where they lie, and read into one block of memory which the arrays then view.
"""

from __future__ import annotations

import pickle
import struct

from .._errors import EncodeError, MessageTooLarge, ProtocolError
from .._heap import LARGE, keep_large_blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ._codec import Buffer

_MAGIC = b"\x80WP5"
_HEAD = struct.Struct("<4sIQ")
_ALIGN = 16  # what malloc gives the block itself, and what the widest usual array element asks for


class Pickled:
    """Any picklable Python object; bytes and arrays out of band, without copies in `encode`.

    **Only between processes that trust each other**: whoever can write to this stream can run code in the reader.
    It is never the default. Both ends must be able to import the classes of what is sent.

    What arrives is what `pickle` makes of it: tuples, sets, NaN and integers of any size are kept. An array arrives as
    a view of the received bytes, writable if it was. An object that cannot be pickled is an EncodeError; a frame that
    is not ours, or a pickle that cannot be loaded here, is a ProtocolError. `max_message` limits the whole frame.
    """

    def __repr__(self) -> str:
        return "Pickled()"

    def encode(self, message: Any, /) -> list[Buffer]:
        """Return the frame of one message in pieces; those that are arrays are the arrays' own memory, so they must
        not change until they are written. Raises EncodeError if the message cannot be pickled.
        """
        buffers: list[pickle.PickleBuffer] = []
        try:
            body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
            views = [buffer.raw() for buffer in buffers]
        except Exception as error:  # pickling runs the objects' own code, which may raise anything
            raise EncodeError(f"this message cannot be pickled: {type(error).__name__}: {error}") from error
        lengths = struct.pack(f"<{len(views)}Q", *(view.nbytes for view in views))
        head = _HEAD.pack(_MAGIC, len(views), len(body)) + lengths
        if len(body) < LARGE:
            pieces: list[Buffer] = [head + body + _padding(len(body))]
        else:
            keep_large_blocks()
            pieces = [head, body, _padding(len(body))]
        for view in views:
            pieces += (view, _padding(view.nbytes))
        return pieces

    def decoder(self, max_message: int, /) -> PickledDecoder:
        """Make the receiving half for one channel. A frame above `max_message` bytes is MessageTooLarge."""
        return PickledDecoder(max_message, self.load)

    def load(self, body: memoryview, buffers: Sequence[memoryview], /) -> Any:
        """Return the message of one whole frame, given its pickle and the buffers that were kept out of it.

        Override it to decide when a pickle is loaded, or what stands for one that cannot be: the frames behind it are
        intact. Raises ProtocolError if it cannot be loaded, and that ends the channel.
        """
        try:
            return pickle.loads(body, buffers=buffers)
        except Exception as error:  # unpickling runs the objects' own code, which may raise anything
            raise ProtocolError(f"this pickle cannot be loaded: {type(error).__name__}: {error}") from error


class PickledDecoder:
    """Frames in any chunking to objects: the receiving half of `Pickled`."""

    def __init__(self, max_message: int, load: Callable[[memoryview, Sequence[memoryview]], Any]) -> None:
        self._max_message = max_message
        self._load = load
        self._head = bytearray()  # of the frame that is not whole
        self._lengths: list[int] = []  # of the pickle and the buffers, once the head is
        self._block = bytearray()  # what they are received into
        self._filled = 0

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet, its head included."""
        return len(self._head) + self._filled

    def feed(self, data: Buffer, /) -> list[Any]:
        """Take the next bytes; return the messages that are whole now, in order."""
        messages: list[Any] = []
        view = memoryview(data)
        try:
            while view:
                view = view[self._take_small(messages, view) or self._take(view) :]
                if self._lengths and self._filled == len(self._block):
                    messages.append(self._load(*self._whole()))
        except ProtocolError as error:
            error.received = tuple(messages)
            raise
        return messages

    def eof(self) -> list[Any]:
        """No more bytes come. Part of a frame is never a message."""
        return []

    def _take_small(self, messages: list[Any], view: memoryview) -> int:
        """Load the whole frames without buffers that `view` begins with, in a third of the time; return their bytes.

        What is not that simple, or not right, is left to `_take`.
        """
        if self._head or self._lengths:
            return 0
        start, end = 0, len(view)
        while end - start >= _HEAD.size:
            magic, count, length = _HEAD.unpack_from(view, start)
            body = start + _HEAD.size
            following = body + _padded(length)
            if magic != _MAGIC or count or not length or following > min(end, start + self._max_message):
                break
            messages.append(self._load(memoryview(bytes(view[body : body + length])), ()))
            start = following
        return start

    def _take(self, view: memoryview) -> int:
        """Put the next bytes where they belong; return how many."""
        if self._lengths:
            taken = min(len(view), len(self._block) - self._filled)
            self._block[self._filled : self._filled + taken] = view[:taken]
            self._filled += taken
            return taken
        taken = min(len(view), self._head_size() - len(self._head))
        self._head += view[:taken]
        if not _MAGIC.startswith(self._head[: len(_MAGIC)]):
            raise ProtocolError(f"not a frame of Pickled(): {bytes(self._head[:80])!r}")
        if len(self._head) == self._head_size():
            self._begin()
        return taken

    def _head_size(self) -> int:
        """How long the head is, as far as it has been read."""
        if len(self._head) < _HEAD.size:
            return _HEAD.size
        count = int.from_bytes(self._head[4:8], "little")
        size = _HEAD.size + 8 * count
        if size > self._max_message:
            raise self._too_large(size)
        return size

    def _begin(self) -> None:
        """Read the whole head, and make room for what it announces."""
        _, count, body = _HEAD.unpack_from(self._head)
        lengths = [body, *struct.unpack_from(f"<{count}Q", self._head, _HEAD.size)]
        size = sum(map(_padded, lengths))
        if len(self._head) + size > self._max_message:
            raise self._too_large(len(self._head) + size)
        if size >= LARGE:
            keep_large_blocks()
        self._lengths = lengths
        self._block = bytearray(size)

    def _whole(self) -> tuple[memoryview, list[memoryview]]:
        """Take out the frame that is whole now: its pickle, and its buffers."""
        parts: list[memoryview] = []
        start = 0
        for length in self._lengths:
            parts.append(memoryview(self._block)[start : start + length])
            start += _padded(length)
        self._head.clear()
        self._lengths, self._block, self._filled = [], bytearray(), 0
        return parts[0], parts[1:]

    def _too_large(self, size: int) -> MessageTooLarge:
        return MessageTooLarge(f"a message of {size} bytes is larger than max_message={self._max_message} bytes")


def _padding(length: int) -> bytes:
    return bytes(-length % _ALIGN)


def _padded(length: int) -> int:
    return length + -length % _ALIGN
