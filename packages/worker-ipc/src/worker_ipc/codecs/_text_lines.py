"""One text per line: what `bc`, `exiftool -stay_open` and chess engines speak."""

from __future__ import annotations

from .._errors import EncodeError, ProtocolError
from ._lines import LineBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._codec import Buffer


class TextLines:
    """Texts (`str`), one per line, without their newline.

    A text that contains a newline, ends in a carriage return or does not fit the encoding is refused with EncodeError.
    Received lines may end in CRLF; an empty line is the message ``""``; what follows the last newline when the peer
    ends is a message too. Bytes that are not text in this encoding raise ProtocolError.

    `encoding` is any in which a newline is the byte 10: not UTF-16 or UTF-32. `errors` is as for `bytes.decode`;
    ``"surrogateescape"`` carries file names that are not text, and any value but these two loses what it replaces.
    """

    def __init__(self, encoding: str = "utf-8", errors: str = "strict") -> None:
        if "\n".encode(encoding) != b"\n":
            raise ValueError(f"encoding must write a newline as the byte 10, got {encoding!r}")
        b"".decode(encoding, errors)
        self.encoding = encoding
        self.errors = errors

    def __repr__(self) -> str:
        return f"TextLines(encoding={self.encoding!r}, errors={self.errors!r})"

    def encode(self, message: str, /) -> bytes:
        """Return the line of one text. Raises EncodeError if it would not arrive as it is."""
        if type(message) is not str:
            raise EncodeError(f"a message must be str, got {type(message).__qualname__}")
        if "\n" in message or message.endswith("\r"):
            raise EncodeError("a text with a newline would arrive as several messages: send its lines one by one")
        try:
            return message.encode(self.encoding, self.errors) + b"\n"
        except UnicodeError as error:
            raise EncodeError(f"this text does not fit the encoding: {error}") from None

    def decoder(self, max_message: int, /) -> TextLinesDecoder:
        """Make the receiving half for one stream. A line above `max_message` bytes is MessageTooLarge."""
        return TextLinesDecoder(max_message, self.encoding, self.errors)


class TextLinesDecoder:
    """Lines in any chunking to texts: the receiving half of `TextLines`."""

    def __init__(self, max_message: int, encoding: str, errors: str) -> None:
        self._lines = LineBuffer(max_message)
        self._encoding = encoding
        self._errors = errors

    @property
    def pending(self) -> int:
        """Bytes of a line whose newline has not come yet."""
        return self._lines.pending

    def feed(self, data: Buffer, /) -> list[str]:
        """Take the next bytes; return the texts that are whole now, in order."""
        block = self._lines.block(data)
        texts = self._texts(block.split(b"\n")[:-1]) if block else []
        if self._lines.too_large:
            error = self._lines.refuse()
            error.received = tuple(texts)
            raise error
        return texts

    def eof(self) -> list[str]:
        """No more bytes come: what follows the last newline, if anything does, is the last message."""
        rest = self._lines.rest()
        return self._texts([rest]) if rest else []

    def _texts(self, lines: list[bytes]) -> list[str]:
        texts: list[str] = []
        for line in lines:
            try:
                texts.append(line.removesuffix(b"\r").decode(self._encoding, self._errors))
            except UnicodeError as error:
                refused = ProtocolError(f"not text in {self._encoding}: {error}")
                refused.received = tuple(texts)
                raise refused from None
        return texts
