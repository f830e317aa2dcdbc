"""JSON behind a ``Content-Length`` header: language servers (LSP) and debug adapters (DAP).

    Content-Length: 17\\r\\n
    \\r\\n
    {"jsonrpc":"2.0"}

LSP 3.17, "Base Protocol": header fields end in CRLF, an empty line ends the header, the length counts bytes, and an
optional ``Content-Type`` may only say UTF-8.
"""

from __future__ import annotations

from .._errors import MessageTooLarge, ProtocolError
from ._json import decode, encoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._codec import Buffer
    from ._json import Interop

_MAX_HEADER = 4096  # real headers have under 100 bytes; without a limit, a peer that sends no header fills memory
_END = b"\r\n\r\n"


class ContentLength:
    """JSON values in LSP's framing. The rules for values are those of `JsonLines`, and so is `interop`.

    Header names are taken in any case and unknown fields are ignored. A header that is longer than 4 KiB, has no
    length, has two that differ, or names another charset than UTF-8 raises ProtocolError; a length above the limit
    raises MessageTooLarge before any of it is read.
    """

    def __init__(self, *, interop: Interop = None) -> None:
        self.interop = interop
        self._encode = encoder(interop, newline=False)

    def __repr__(self) -> str:
        return f"ContentLength({'' if self.interop is None else f'interop={self.interop!r}'})"

    def encode(self, message: Any, /) -> bytes:
        """Return the frame of one message. Raises EncodeError if it would not arrive as it is."""
        body = self._encode(message)
        return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    def decoder(self, max_message: int, /) -> ContentLengthDecoder:
        """Make the receiving half for one stream. A body above `max_message` bytes is MessageTooLarge."""
        return ContentLengthDecoder(max_message)


class ContentLengthDecoder:
    """Frames in any chunking to JSON values: the receiving half of `ContentLength`."""

    def __init__(self, max_message: int) -> None:
        self._max_message = max_message
        self._buffer = bytearray()  # from the first byte that is not dealt with
        self._searched = 0  # bytes of it that are known not to begin the end of a header
        self._length = -1  # of the body that `_buffer` begins with; -1 while that is a header
        self._header_size = 0  # of the header that told this length

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet, its header included."""
        return self._header_size + len(self._buffer)

    def feed(self, data: Buffer, /) -> list[Any]:
        """Take the next bytes; return the messages that are whole now, in order."""
        self._buffer += data
        messages: list[Any] = []
        try:
            while (body := self._next_body()) is not None:
                messages.append(decode(body))
        except ProtocolError as error:
            self._buffer.clear()
            error.received = tuple(messages)
            raise
        return messages

    def eof(self) -> list[Any]:
        """No more bytes come. Part of a frame is never a message."""
        return []

    def _next_body(self) -> bytearray | None:
        """Take out the next whole body; None if it has not come."""
        if self._length < 0 and not self._header():
            return None
        if len(self._buffer) < self._length:
            return None
        body = self._buffer[: self._length]
        del self._buffer[: self._length]
        self._length = -1
        self._header_size = 0
        return body

    def _header(self) -> bool:
        """Take out a header and set the length it gives; False if it is not whole."""
        if self._buffer.startswith(b"\r\n"):
            raise ProtocolError("a header must have a Content-Length, got an empty one")
        end = self._buffer.find(_END, self._searched, _MAX_HEADER)
        if end < 0:
            if len(self._buffer) >= _MAX_HEADER:
                raise ProtocolError(f"no header ends within {_MAX_HEADER} bytes: {bytes(self._buffer[:80])!r}...")
            self._searched = max(0, len(self._buffer) - len(_END) + 1)
            return False
        self._length = _length(bytes(self._buffer[:end]), self._max_message)
        self._header_size = end + len(_END)
        del self._buffer[: self._header_size]
        self._searched = 0
        return True


def _length(header: bytes, max_message: int) -> int:
    """Read the fields of a header; return what Content-Length says."""
    lengths: set[bytes] = set()
    for field in header.split(b"\r\n"):
        name, colon, value = field.partition(b":")
        value = value.strip(b" \t")
        if not colon:
            raise ProtocolError(f"a header field must be 'name: value', got {field[:80]!r}")
        if name.lower() == b"content-length":
            lengths.add(value)
        elif name.lower() == b"content-type" and not _is_utf8(value):
            raise ProtocolError(f"the charset must be utf-8, got {value[:80]!r}")
    if len(lengths) != 1:
        raise ProtocolError(f"a header must have one Content-Length, got {header[:80]!r}")
    digits = lengths.pop()
    if not digits.isdigit() or len(digits) > 18:
        raise ProtocolError(f"Content-Length must be a number of bytes, got {digits[:80]!r}")
    if int(digits) > max_message:
        raise MessageTooLarge(f"a message of {int(digits)} bytes is larger than max_message={max_message} bytes")
    return int(digits)


def _is_utf8(content_type: bytes) -> bool:
    """Whether a Content-Type leaves or says UTF-8. (``utf8`` was LSP's own early spelling, and is still in use.)"""
    _, found, charset = content_type.lower().partition(b"charset=")
    return not found or charset.strip(b"\"' ") in (b"utf-8", b"utf8")
