"""What a child writes to stderr: read as fast as it comes, its tail kept, and passed on without ever waiting.

The child must never block on a pipe that nobody reads, and this process must never block on its own stderr. So the
pump reads whatever is there; the tail forgets its oldest bytes; and `_forward` lets go of what a stuck terminal
does not take.
"""

import os
from collections import deque
from collections.abc import Callable

from worker_ipc._errors import printable

__all__ = ("TAIL_SIZE", "StderrPump", "Tail", "show")

TAIL_SIZE = 64 * 1024
"""Bytes of stderr kept for the error that tells how the child ended."""

_CHUNK = 64 * 1024  # a Linux pipe holds this much
_DRAIN_READS = 32  # more than a pipe can hold: a grandchild that keeps writing must not keep us here


class Tail:
    """The last `limit` bytes of a stream, and how many came before them."""

    __slots__ = ("_chunks", "_kept", "_limit", "total")

    def __init__(self, limit: int = TAIL_SIZE) -> None:
        self._chunks: deque[bytes] = deque()
        self._kept = 0
        self._limit = limit
        self.total = 0

    def add(self, chunk: bytes) -> None:
        """Append `chunk`, and forget what is too old."""
        self._chunks.append(chunk)
        self.total += len(chunk)
        self._kept += len(chunk)
        while self._kept - len(self._chunks[0]) >= self._limit:
            self._kept -= len(self._chunks.popleft())

    def text(self) -> str:
        """Return the tail as text that is safe to print and to log: see `show`."""
        data = b"".join(self._chunks)[-self._limit :]
        cut = self.total - len(data)
        if not cut:
            return show(data)
        return f"[{cut} bytes before this are not kept]\n{show(data.lstrip(_CONTINUATION))}"


_CONTINUATION = bytes(range(0x80, 0xC0))  # the cut may fall inside a character: its rest is no error of the child


def show(data: bytes) -> str:
    r"""Decode UTF-8 for human eyes: what could move a cursor, hide text or forge a line becomes ``\x1b`` and the like.

    Line feeds and tabs stay; CR LF becomes a line feed; bytes that are not UTF-8 appear as ``\xff``.
    """
    return printable(data.decode("utf-8", "backslashreplace").replace("\r\n", "\n"))


class StderrPump:
    """Moves what is readable from the child's stderr into the tail, and to `forward` if there is one.

    The owner calls `pump` when the descriptor (non-blocking) is readable, and `drain` once the child is dead, so that
    the tail is complete when the death is told, even if a grandchild keeps the pipe open.
    """

    __slots__ = ("_forward", "at_end", "fd", "tail")

    def __init__(self, fd: int, forward: Callable[[bytes], None] | None) -> None:
        self.fd = fd
        self._forward = forward
        self.tail = Tail()
        self.at_end = False

    def pump(self) -> bool:
        """Read once. Tell whether there may be more right now."""
        try:
            chunk = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self.at_end = True
            return False
        self.tail.add(chunk)
        if self._forward is not None:
            self._forward(chunk)
        return True

    def drain(self) -> None:
        """Read what is there now, and no more."""
        for _ in range(_DRAIN_READS):
            if self.at_end or not self.pump():
                return
