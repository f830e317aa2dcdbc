"""The receiving half of a stream: one read per wake-up, so that a peer that floods gets its share and no more."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Protocol

from ._errors import ChannelClosed, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._readiness import Loop
    from .codecs import Decoder

logger = logging.getLogger("worker_ipc")

CHUNK = 64 * 1024
"""Bytes per read. Measured best for small messages, and a fair share for a flood."""

OBJECT = 256
"""Bytes that a message costs beside its text: a small dict. Without it, 64 MiB of tiny messages were 750 MB held."""

_DRAIN = 16 * 2**20
"""Bytes read at most from a dead peer: above any kernel buffer; who writes more than that is a grandchild."""


_NOTHING = memoryview(b"")


class Sink(Protocol):
    """Who receives."""

    def received(self, messages: Sequence[Any], size: int, /) -> None:
        """Take messages of `size` bytes each, on average. Never raises."""

    def ended(self, error: OSError | ChannelClosed | None, /) -> None:
        """No more messages come. Called once.

        The peer left: None (end of file) or OSError, of the descriptor and of nothing else. Or ChannelClosed: it broke
        the rules (ProtocolError), or what it sent could not be handled.
        """


class Reader:
    """Owns the reading of one descriptor, not the descriptor."""

    __slots__ = ("_buffers", "_decoder", "_fd", "_feed", "_sink", "_view", "_watch", "done", "paused")

    def __init__(self, loop: Loop, fd: int, decoder: Decoder[Any], sink: Sink) -> None:
        self._fd = fd
        self._decoder = decoder
        self._feed = decoder.feed
        self._sink = sink
        self._view = memoryview(bytearray(CHUNK))  # one for all reads: a fresh one costs two page faults each time
        self._buffers = (self._view,)
        self._watch = loop.readable(fd, self._read)
        self.paused: bool = False
        self.done: bool = False

    @property
    def pending(self) -> int:
        """Bytes of a message that is not whole."""
        return self._decoder.pending

    def start(self) -> None:
        """Begin to read."""
        self._watch.start()

    def pause(self) -> None:
        """Leave the rest to the kernel's buffer, and so to the peer."""
        if not self.paused and not self.done:
            self.paused = True
            self._watch.stop()

    def resume(self) -> None:
        """Read on."""
        if self.paused and not self.done:
            self.paused = False
            self._watch.start()

    def stop(self) -> None:
        """Read no more. The descriptor may be closed after that."""
        if not self.done:
            self.done = True
            self._watch.close()
            # A channel that has ended is held by its parts until the garbage collector comes by, which may be after
            # hundreds of others: without this, each would hold 64 KiB until then.
            self._view, self._buffers = _NOTHING, (_NOTHING,)

    def drain(self) -> None:
        """Read what a dead peer has left behind, at once and paused or not; then it is the end of file, held or not."""
        left = _DRAIN
        while not self.done and left > 0:
            count = self._read()
            if not count:
                break
            left -= count
        self._finish(None)

    def _read(self) -> int:
        """Read once. Returns the number of bytes; 0 when there is nothing now, or never again. Never raises."""
        try:
            count = os.readv(self._fd, self._buffers)
        except BlockingIOError:
            return 0
        except OSError as error:  # ECONNRESET: the peer left without reading everything
            self._finish(error)
            return 0
        if not count:
            self._finish(None)
            return 0
        try:
            pending = self._decoder.pending
            messages = self._feed(self._view[:count])
            if messages:
                size = pending + count - self._decoder.pending
                self._sink.received(messages, size // len(messages) + OBJECT)
        except Exception as error:
            self._break(error)
            return 0
        return count

    def _finish(self, error: OSError | None) -> None:
        """The peer has left: what it had sent is whole now, or never."""
        if self.done:
            return
        self.stop()
        try:
            messages = self._decoder.eof()
            if messages:
                self._sink.received(messages, self._decoder.pending + OBJECT)
        except Exception as failure:
            self._sink.ended(self._told(failure))
        else:
            self._sink.ended(error)

    def _break(self, error: Exception) -> None:
        """What was received breaks the rules, or what handles it does: no more is read."""
        told = self._told(error)
        if not self.done:
            self.stop()
            self._sink.ended(told)

    def _told(self, error: Exception) -> ChannelClosed:
        """Deliver what came before a violation; return how to tell of it.

        What is not foreseen (a codec of the user's that fails, a bug here) ends the channel: logged and swallowed, it
        would have lost messages, and left who waits for them waiting for ever.
        """
        if isinstance(error, ProtocolError):
            if error.received:
                self._sink.received(error.received, CHUNK // len(error.received) + OBJECT)
            return error
        logger.error("what was received could not be handled: the channel is ended", exc_info=error)
        closed = ChannelClosed(f"what was received could not be handled: {error!r}")
        closed.__cause__ = error
        return closed
