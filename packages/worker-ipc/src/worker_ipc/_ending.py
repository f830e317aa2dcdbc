"""How a conversation ends: once, for one reason, and every wait with it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ._errors import ChannelClosed

if TYPE_CHECKING:
    from ._readiness import Loop, Waiter
    from ._stream import MessageStream


class Ending:
    """What a channel and a stream have in common: a message stream that ends.

    `_settle` keeps the reason. Who the peer is, and so how its end is seen, is a subclass's business.
    """

    _loop: Loop
    _stream: MessageStream[Any]

    def __init__(self) -> None:
        self._error: ChannelClosed | None = None
        self._waiting_for_end: list[Waiter] = []

    @property
    def active(self) -> bool:
        """True until it has ended: while False, nothing more can be sent, or awaited."""
        return self._error is None

    def _settle(self, error: ChannelClosed) -> None:
        """End it: what was received stays readable, every wait fails. The first reason counts."""
        if self._error is not None:
            return
        self._error = error
        self._stream.close()
        self._fail_waits()
        waiting, self._waiting_for_end = self._waiting_for_end, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _fail_waits(self) -> None:
        """Let everyone look who waits for a message."""
        raise NotImplementedError

    def ended(self, error: Exception | None) -> None:
        """No more messages come. The stream calls this."""
        raise NotImplementedError

    def _break(self, error: ChannelClosed) -> None:
        """End it because of what the peer did."""
        self._settle(error)

    def _closed_error(self) -> ChannelClosed:
        """Make a new exception each time: one that is raised twice gathers tracebacks."""
        return copy.copy(self._error) if self._error is not None else ChannelClosed()

    def _somebody_waits(self) -> None:
        """Read on, if reading was paused: somebody needs a message that is still to come."""
        if self._stream.reader.paused:
            self._stream.reader.resume()

    async def _end_of_sending(self) -> None:
        """The peer does not read any more: wait for its end, which follows soon, and raise that."""
        self._somebody_waits()
        while self._error is None:
            waiter = self._loop.waiter()
            self._waiting_for_end.append(waiter)
            await waiter
        raise self._closed_error()
