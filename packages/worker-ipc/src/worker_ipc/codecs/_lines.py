"""Chunks of bytes in, whole lines out: in linear time, and never holding more than one limit's worth."""

from __future__ import annotations

from .._errors import MessageTooLarge
from .._heap import LARGE, keep_large_blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._codec import Buffer

_SMALL = 4096  # chunks below this are gathered in one bytearray: a list of a million one-byte parts would cost 40 MB


class LineBuffer:
    """Splits at newlines (``\\n`` only; a carriage return stays in the line) what arrives in any chunking."""

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._parts: list[bytes | bytearray] = []
        self.pending: int = 0  # bytes of a line whose newline has not come
        self.too_large: bool = False  # a line above the limit has begun: there will be no more lines

    def block(self, data: Buffer) -> bytes:
        """Take the next bytes; return all lines that are whole now in one piece, each with its newline.

        When a line is too large, `too_large` is set and the lines before it are returned: the caller, done with
        those, raises what `refuse` makes.
        """
        if type(data) is not bytes:
            data = bytes(data)
        if not self.pending and data[-1:] == b"\n" and len(data) <= self._max_line:
            return data  # the usual case: whole lines, as they were written
        end = data.rfind(b"\n") + 1
        if not end:
            self._keep(data)
            return b""
        block = data[:end]
        if self.pending:
            self._parts.append(block)
            block = self.rest()
        if len(block) > self._max_line + 1:
            block = self._within(block)
        if not self.too_large and end < len(data):
            self._keep(data[end:])
        return block

    def rest(self) -> bytes:
        """Take out the bytes of the line whose newline never came."""
        rest = b"".join(self._parts)
        self._parts.clear()
        self.pending = 0
        return rest

    def refuse(self) -> MessageTooLarge:
        """Make the error for the line that is too large."""
        return MessageTooLarge(f"a line is longer than max_message={self._max_line} bytes")

    def _keep(self, data: bytes) -> None:
        self.pending += len(data)
        if self.pending >= LARGE:
            keep_large_blocks()
        if self.pending > self._max_line:
            self.too_large = True
            self._parts.clear()
        elif len(data) >= _SMALL:
            self._parts.append(data)
        elif self._parts and type(self._parts[-1]) is bytearray:
            self._parts[-1] += data
        else:
            self._parts.append(bytearray(data))

    def _within(self, block: bytes) -> bytes:
        """Return the lines of `block` before the first one that is too large."""
        start = 0
        while end := block.find(b"\n", start) + 1:
            if end - start > self._max_line + 1:
                self.too_large = True
                return block[:start]
            start = end
        return block
