"""What happens to a message that arrives, when reading pauses, and how a channel ends.

    a message arrives ──┬─ an event ──────> _mailbox    waits, listeners, what nobody claimed yet
                        ├─ a reply ───────> _rpc.Calls  the request with that id
                        ├─ a request ─────> _answers    the function that was registered for it
                        └─ {"cmd": "NODE_..."}          never the user's; a handle is refused

One callback reads, decodes, routes and settles native waiters: there is no task, lock or scope per message.

How it ends is in `_ending`; how the end of a child, or of a parent, is seen, in `_owner` and `_child`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from . import _rpc
from ._answers import Answers
from ._ending import Ending
from ._errors import Overrun, ProtocolError
from ._events import NACK, is_internal, wants_answer
from ._mailbox import Mailbox
from ._stream import MAX_QUEUED, MessageStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup

    from ._readiness import Loop
    from .codecs import Codec

logger = logging.getLogger("worker_ipc")


class ChannelCore(Ending):
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
        super().__init__()
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
                elif "cmd" in message and is_internal(message):
                    if wants_answer(message):  # Node sends nothing more until it has one (wire.md, F.2)
                        self._stream.post(NACK, now=True)
                elif not mailbox.put(message, size) and mailbox.dropped == 1:
                    logger.warning("nobody listens for %r, and the mailbox is full: dropped", message.get("type"))
        except ProtocolError as error:
            self._break(error)
            return
        if mailbox.full or self._answers.bytes or self._stream.writer.queued:
            self._check_flow()

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

    def _count_error(self) -> None:
        self._handler_errors += 1

    # --- the end

    def _fail_waits(self) -> None:
        self._mailbox.end()
        self._calls.end(self._closed_error())

    def _iteration_ends_quietly(self) -> bool:
        return False
