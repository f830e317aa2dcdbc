"""One JSON value per line: the wire of Node's `child_process`, of MCP over stdio, of NDJSON."""

from __future__ import annotations

from .._errors import ProtocolError
from ._json import decode, decode_line, decode_lines, encoder
from ._lines import LineBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._codec import Buffer
    from ._json import Interop

_BLANK = b" \t\r"


class JsonLines:
    """JSON values, one per line of UTF-8, ended by a newline. The default codec.

    What you send is what arrives, or EncodeError: NaN and infinities, integers beyond 64 bits, text with lone
    surrogates, keys that are not `str`, bytes, dates, dataclasses, sets, any subclass, and nesting beyond 254 levels
    are refused. Three values arrive as their nearest JSON relative: a tuple as a list, an enum member as its value, a
    `uuid.UUID` as its text.

    `interop="node"` also refuses integers beyond 2**53 - 1, which JavaScript would round. Use it when the peer is
    Node, Bun or Deno and large integers may occur.

    Received lines may end in CRLF, blank lines are skipped, and of doubled keys the last wins. What would not arrive
    exactly (NaN, 1e999, an integer beyond 64 bits), bad UTF-8, a byte order mark and nesting beyond 1024 levels raise
    ProtocolError. A last line without its newline is not a message: it stays `pending`.
    """

    def __init__(self, *, interop: Interop = None) -> None:
        self.interop = interop
        # A function held by the instance: a method that calls it would add a fifth to the price of a message.
        self.encode: Callable[[Any], bytes] = encoder(interop, newline=True)
        """Return the line of one message. Raises EncodeError if it would not arrive as it is."""

    def __repr__(self) -> str:
        return f"JsonLines({'' if self.interop is None else f'interop={self.interop!r}'})"

    def decoder(self, max_message: int, /) -> JsonLinesDecoder:
        """Make the receiving half for one channel. A line above `max_message` bytes is MessageTooLarge."""
        return JsonLinesDecoder(max_message)


class JsonLinesDecoder(LineBuffer):
    """Lines in any chunking to JSON values: the receiving half of `JsonLines`."""

    def feed(self, data: Buffer, /) -> list[Any]:
        """Take the next bytes; return the messages that are whole now, in order."""
        block = self.block(data)
        messages = _decode(block) if block else []
        if self.too_large:
            error = self.refuse()
            error.received = tuple(messages)
            raise error
        return messages

    def eof(self) -> list[Any]:
        """No more bytes come. A line without its newline may be cut short, so it is never a message."""
        return []


def _decode(block: bytes) -> list[Any]:
    try:
        if block.find(b"\n") == len(block) - 1:
            return [decode_line(block)]
        return decode_lines(block)
    except ValueError:  # a blank line, or one that needs care: find out which
        pass
    messages: list[Any] = []
    for document in block.split(b"\n"):
        if document.strip(_BLANK):
            try:
                messages.append(decode(document))
            except ProtocolError as error:
                error.received = tuple(messages)
                raise
    return messages
