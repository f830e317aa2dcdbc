"""How a conversation ends: once, for one reason, and every wait with it."""

from __future__ import annotations

import copy
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from ._errors import ChannelClosed

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from ._readiness import Loop, Waiter
    from ._stream import MessageStream


class Peer(Protocol):
    """Who is at the other end: how its end is seen, and what is done about one that breaks the rules."""

    def left(self, ending: Ending, truncated: int, /) -> None:
        """Its end of file was seen, `truncated` bytes into a message. Settles the ending, now or soon."""

    def broke_off(self, ending: Ending, error: ChannelClosed, /) -> None:
        """It broke the rules or flooded us: `error` says how. Settles the ending now."""


class Ending:
    """What a channel and a stream have in common: a message stream that ends, and tasks that wait on it.

    The base of the engines (`_core.Core`, `_inbox.Inbox`), which are the sinks of their streams.
    """

    stream: MessageStream[Any]

    def __init__(self, loop: Loop, group: TaskGroup, peer: Peer) -> None:
        self.loop = loop
        self.group = group
        self.peer = peer
        self.thread: int = get_ident()  # of the event loop; there is one per thread
        self.error: ChannelClosed | None = None
        self._has_unread = False  # the peer left bytes of ours unread
        self._untouched = 0  # messages, of those that `error` tells to be unread
        self._waiting: list[Waiter] = []

    def ended(self, error: OSError | ChannelClosed | None) -> None:
        """No more messages come. The stream calls this."""
        if error is None or isinstance(error, OSError):
            self._has_unread = isinstance(error, ConnectionResetError)
            self.peer.left(self, self.stream.reader.pending)
        else:
            self.break_off(error)

    def break_off(self, error: ChannelClosed) -> None:
        """End it because of what the peer did."""
        if self.error is None:
            self.peer.broke_off(self, error)

    def settle(self, error: ChannelClosed) -> None:
        """End it: what was received stays readable, every wait fails. The first reason counts."""
        if self.error is not None:
            return
        error.unread, self._untouched = self.unread(), self.stream.writer.untouched
        self.error = error
        self.stream.close()
        self.fail_waits()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def unread(self) -> int:
        """Return how many of the last messages the peer certainly did not read in full, and never will.

        What the kernel did not take (EPIPE), and before that the last one that it took, if bytes were left over when
        the peer's end was closed: a socket says so (ECONNRESET), a pipe still has them. A large message of which the
        kernel took a part is not counted: nobody else should be made to read what may have killed its reader.
        """
        writer = self.stream.writer
        if writer.cut or writer.watching:
            return writer.untouched
        return writer.untouched + (self._has_unread or self.stream.has_unread_output())

    def fail_waits(self) -> None:
        """Let everyone look who waits for a message."""
        raise NotImplementedError

    def closed_error(self) -> ChannelClosed:
        """Make a new exception each time: one that is raised twice gathers tracebacks.

        What was sent after the end, by a task that had waited for its turn, nobody has read either.
        """
        if self.error is None:
            return ChannelClosed()
        error = copy.copy(self.error)
        if self.error.__cause__ is not None:  # a copy has none; to say so would hide what is being handled
            error.__cause__ = self.error.__cause__
        error.unread += self.stream.writer.untouched - self._untouched
        return error

    def check_thread(self) -> None:
        """Refuse a call from elsewhere: what it would wait for is told to this channel's own event loop only."""
        if get_ident() != self.thread:
            raise self.elsewhere()

    def elsewhere(self) -> RuntimeError:
        """Make the error for a call from another thread, with or without an event loop of its own."""
        return RuntimeError(
            "this channel belongs to the event loop of another thread: call it there, by anyio.from_thread.run or "
            "run_sync, or by a BlockingPortal of that loop; or open one for each loop"
        )

    def somebody_waits(self) -> None:
        """Read on, if reading was paused: somebody needs a message that is still to come."""
        if self.stream.reader.paused:
            self.stream.reader.resume()

    async def raise_when_settled(self) -> None:
        """The peer does not read any more: wait for its end, which follows soon, and raise that."""
        self.somebody_waits()
        while self.error is None:
            waiter = self.loop.waiter()
            self._waiting.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiting:  # it was cancelled
                    self._waiting.remove(waiter)
        raise self.closed_error()
