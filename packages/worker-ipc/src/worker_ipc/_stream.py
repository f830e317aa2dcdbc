"""MessageStream: a descriptor pair and a codec make a stream of messages, with backpressure in both directions.

It joins the two halves (`_reader`, `_writer`) and owns the descriptors. Whoever receives is a `Sink`: messages come in
by callback, as many as one read held, and what is sent meanwhile leaves in one write when they are dispatched.
"""

from __future__ import annotations

import fcntl
import os
import select
import termios
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from ._errors import ChannelClosed, WouldBlock
from ._reader import Reader, Sink
from ._writer import Writer
from .codecs._codec import MessageT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._readiness import Loop
    from ._writer import ResultT
    from .codecs import Buffer, Codec

MAX_MESSAGE = 64 * 2**20
"""Bytes. Node, Bun and Deno have no limit; 64 MiB was echoed by all three."""

MAX_QUEUED = 64 * 2**20
"""Bytes that may be held for listeners that do not read, while others wait: beyond it, Overrun."""


class MessageStream(Generic[MessageT]):
    """Owns `fd_in` and `fd_out` (which may be the same): `close` closes them."""

    def __init__(
        self,
        loop: Loop,
        descriptors: tuple[int, int],
        codec: Codec[MessageT],
        sink: Sink,
        *,
        max_message: int = MAX_MESSAGE,
        write_through: bool = False,
    ) -> None:
        self._fd_in, self._fd_out = descriptors
        self._sink = sink
        self.encode: Callable[[MessageT], bytes | Sequence[Buffer]] = codec.encode
        self.reader: Reader = Reader(loop, self._fd_in, codec.decoder(max_message), self)
        self.writer: Writer = Writer(loop, self._fd_out, self._sending_failed, write_through=write_through)
        self._write_through = write_through
        self.sent: int = 0  # messages
        self.closed: bool = False

    @property
    def is_pair(self) -> bool:
        """Tell whether the two directions are two descriptors, so that one can be closed alone."""
        return self._fd_in != self._fd_out

    # --- receiving: we are the reader's sink, and hand on to ours

    def received(self, messages: Sequence[Any], size: int) -> None:
        """Dispatch what one read held; then write at once what that made us send."""
        writer = self.writer
        writer.in_step = len(messages) == 1
        writer.corked = True
        try:
            self._sink.received(messages, size)
        finally:
            writer.uncork(len(messages) > 1)

    def ended(self, error: OSError | ChannelClosed | None) -> None:
        """No more messages come."""
        self._sink.ended(error)

    # --- sending

    def post(self, message: MessageT, *, now: bool = False) -> None:
        """Send without ever waiting. For what is bounded otherwise: requests in flight, replies, cancellations."""
        self.writer.write(self.encode(message), now)
        self.sent += 1

    def send_nowait(self, message: MessageT) -> None:
        """Send, or raise WouldBlock where `send` would wait. Raises ChannelClosed when the peer does not read."""
        data = self.encode(message)
        if self.writer.broken:
            closed = ChannelClosed("the peer does not read any more")
            closed.unread = self.writer.untouched
            raise closed
        if self.writer.busy:
            raise WouldBlock(f"the peer is not reading: {self.writer.queued} bytes are waiting to be sent")
        self.writer.write(data)
        self.sent += 1

    async def send(self, message: MessageT) -> None:
        """Send, when it is our turn. Cancelled while it waits, nothing was sent; later, all of it will be.

        In a child (`write_through`), it returns when the kernel has all of it. If the peer no longer reads, it returns
        too: look at `writer.broken`.
        """
        data = self.encode(message)
        writer = self.writer
        if (writer.watching or writer.senders) and writer.busy:
            await self.in_turn(partial(writer.write, data))
        else:
            writer.write(data)
        self.sent += 1
        if self._write_through and writer.queued:
            await self.drained()

    async def in_turn(self, act: Callable[[], ResultT]) -> ResultT:
        """Call `act`, which sends, when there is room: first come, first served. Cancelled before, it is not called.

        Reading goes on meanwhile, paused or not: the peer may be waiting for us to read before it reads itself.
        """
        self.reader.resume()
        return await self.writer.in_turn(act)

    async def drained(self) -> None:
        """Wait until the kernel has everything that was sent, or the peer is gone. Reading goes on meanwhile."""
        self.reader.resume()
        await self.writer.drained()

    def _sending_failed(self) -> None:
        # A socket whose other end does not read is closed, or as good as (there is no half-open state on this wire):
        # what had been sent before is here already. A program may close its stdin, and go on writing.
        if not self.is_pair:
            self.reader.drain()

    # --- the end

    def has_unread_output(self) -> bool:
        """Tell whether bytes of ours are left in a pipe that nobody can read any more (Linux; elsewhere: False)."""
        if not self.is_pair or self._fd_out == -1:
            return False
        poll = select.poll()
        poll.register(self._fd_out, 0)
        if not any(events & select.POLLERR for _, events in poll.poll(0)):
            return False  # somebody holds the other end: the child, or what it has left behind
        left = fcntl.ioctl(self._fd_out, termios.FIONREAD, bytes(4))
        return any(left)

    def close_output(self) -> None:
        """Send nothing more. Over pipes, the peer sees the end of its input; a socket stays open for reading."""
        self.writer.stop()
        if self._fd_out not in (self._fd_in, -1):
            os.close(self._fd_out)
        self._fd_out = -1

    def close(self) -> None:
        """Close both directions at once, dropping what was not sent. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self.reader.stop()
        self.close_output()
        os.close(self._fd_in)


def check_mailbox(mailbox: object) -> None:
    """Refuse room for no message, before anything is started: reading would pause, and nobody could make it go on."""
    if not isinstance(mailbox, int):
        raise TypeError(f"mailbox must be an int, a number of messages, got {mailbox!r:.100}")
    if mailbox < 1:
        raise ValueError(f"mailbox must be at least 1 message, got {mailbox!r:.100}")
