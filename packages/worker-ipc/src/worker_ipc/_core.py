"""What happens to a message that arrives, when reading pauses, and how a channel ends.

    a message arrives ──┬─ an event ──────> _mailbox    waits, listeners, what nobody claimed yet
                        ├─ a reply ───────> _rpc.Calls  the request with that id
                        ├─ a request ─────> _answers    the function that was registered for it
                        └─ {"cmd": "NODE_..."}          never the user's; a handle is refused

One callback reads, decodes, routes and settles native waiters: there is no task, lock or scope per message.

The end comes once: `_settle` keeps the reason, and with it every wait fails, now and later. Who the peer is, and so how
its end is seen, is the subclass's business (`_peer_left`).
"""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any

from . import _rpc
from ._answers import Answers
from ._errors import ChannelClosed, Overrun, ProtocolError
from ._mailbox import Mailbox
from ._stream import MessageStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup

    from ._mailbox import Message
    from ._readiness import Loop, Waiter
    from .codecs import Codec

logger = logging.getLogger("worker_ipc")

MAX_QUEUED = 64 * 2**20
"""Bytes that listeners and unanswered requests may hold, and that may wait to be sent: beyond it, Overrun."""


class ChannelCore:
    """The engine of a `Channel`."""

    def __init__(
        self,
        loop: Loop,
        group: TaskGroup,
        descriptors: tuple[int, int],
        codec: Codec[Any],
        *,
        mailbox: int,
        max_message: int,
        is_child: bool,
    ) -> None:
        self._loop = loop
        self._group = group
        self._mailbox = Mailbox(mailbox)
        self._mailbox.on_room = self._somebody_waits
        self._calls = _rpc.Calls()
        self._stream: MessageStream[Any] = MessageStream(
            loop, descriptors, codec, self, max_message=max_message, write_through=is_child
        )
        self._answers = Answers(self._stream, group, patient=is_child, limit=mailbox)
        self._max_queued = max(MAX_QUEUED, max_message)
        self._error: ChannelClosed | None = None
        self._waiting_for_end: list[Waiter] = []
        self._registered: list[Callable[[], None]] | None = None
        self._sent = self._received = self._handler_errors = 0

    # --- a message arrives

    def received(self, messages: Sequence[Any], size: int) -> None:
        """Route what one read held. Called by the stream."""
        self._received += len(messages)
        mailbox, calls = self._mailbox, self._calls
        try:
            for message in messages:
                if message.__class__ is not dict:
                    raise ProtocolError(f"a message must be an object, got {type(message).__name__}")
                if "jsonrpc" in message:
                    if "method" in message:
                        self._answers.request(message, size)
                    else:
                        _rpc.check_reply(message)
                        calls.settle(message)
                elif "cmd" in message and is_reserved(message["cmd"]):
                    self._received_from_node(message)
                elif not mailbox.put(message, size) and mailbox.dropped == 1:
                    logger.warning("nobody listens for %r, and the mailbox is full: dropped", message.get("type"))
        except ProtocolError as error:
            self._break(error)
            return
        if mailbox.full or self._answers.bytes or self._stream.writer.queued:
            self._check_flow()

    def _received_from_node(self, message: Message) -> None:
        # Node queues everything it sends until a handle is answered (wire.md, F.2). We take none.
        if message["cmd"] == "NODE_HANDLE":
            self._stream.post({"cmd": "NODE_HANDLE_NACK"}, now=True)

    # --- flow

    def _check_flow(self) -> None:
        held = self._mailbox.queued_bytes + self._answers.bytes
        if held > self._max_queued:
            self._break(Overrun(f"{held} bytes are held for listeners that do not read, while others wait"))
        elif self._stream.writer.queued > self._max_queued:
            self._break(Overrun("the peer asks for more and more, and does not read the answers"))
        elif self._mailbox.full and not self._is_waited_for():
            self._stream.reader.pause()

    def _is_waited_for(self) -> bool:
        """Tell whether anybody here needs a message that is still to come: then reading goes on."""
        return bool(
            self._mailbox.waiting or self._calls.pending or self._answers.running or self._stream.writer.waiting
        )

    def _somebody_waits(self) -> None:
        if self._stream.reader.paused:
            self._stream.reader.resume()

    def _count_error(self) -> None:
        self._handler_errors += 1

    # --- the end

    def ended(self, error: Exception | None) -> None:
        """No more messages come. Called by the stream."""
        if isinstance(error, ProtocolError):
            self._break(error)
        else:
            self._peer_left(self._stream.reader.pending)

    def _peer_left(self, truncated: int) -> None:
        raise NotImplementedError

    def _break(self, error: ChannelClosed) -> None:
        """End the channel because of what the peer did."""
        self._settle(error)

    def _settle(self, error: ChannelClosed) -> None:
        """End the channel: what was received stays readable, every wait fails. The first reason counts."""
        if self._error is not None:
            return
        self._error = error
        self._stream.close()
        self._mailbox.end()
        self._calls.end(self._closed_error())
        waiting, self._waiting_for_end = self._waiting_for_end, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _closed_error(self) -> ChannelClosed:
        """Make a new exception each time: one that is raised twice gathers tracebacks."""
        return copy.copy(self._error) if self._error is not None else ChannelClosed()

    async def _end_of_sending(self) -> None:
        """The peer does not read any more: wait for its end, which follows soon, and raise that."""
        self._somebody_waits()
        while self._error is None:
            waiter = self._loop.waiter()
            self._waiting_for_end.append(waiter)
            await waiter
        raise self._closed_error()

    def _iteration_ends_quietly(self) -> bool:
        return False


def is_reserved(cmd: object) -> bool:
    """Tell whether Node keeps this value of `cmd` to itself (wire.md, A.3)."""
    return cmd.__class__ is str and cmd[:5] == "NODE_"
