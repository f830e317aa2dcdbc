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
from functools import partial
from typing import TYPE_CHECKING, Any, final

from . import _rpc
from ._answers import Answers
from ._claims import kind_of
from ._ending import Ending, Peer
from ._errors import Overrun, ProtocolError
from ._events import NACK, is_internal, wants_answer
from ._mailbox import Mailbox
from ._stream import MAX_QUEUED, MessageStream
from ._writer import HIGH_WATER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup

    from ._readiness import Loop
    from ._rpc import Params
    from .codecs import Buffer, Codec

logger = logging.getLogger("worker_ipc")


@final
class Core(Ending):
    """The engine of a `Channel`."""

    def __init__(
        self,
        loop: Loop,
        group: TaskGroup,
        peer: Peer,
        descriptors: tuple[int, int],
        codec: Codec[Any],
        *,
        mailbox: int,
        max_message: int,
        is_child: bool,
    ) -> None:
        super().__init__(loop, group, peer)
        self.is_child = is_child
        self.mailbox: Mailbox = Mailbox(mailbox)
        self.mailbox.on_room = self.somebody_waits
        self.mailbox.on_drop = partial(loop.soon_from_anywhere, self.mailbox.tidy)
        self.calls: _rpc.Calls = _rpc.Calls()
        self.stream: MessageStream[Any] = MessageStream(
            loop, descriptors, codec, self, max_message=max_message, write_through=is_child
        )
        self.answers: Answers = Answers(self.stream, group, patient=is_child, limit=mailbox)
        self._max_queued = max(MAX_QUEUED, max_message)
        self.removers: list[Callable[[], None]] | None = None
        self.received_count: int = 0
        self.refused_count: int = 0
        self.handler_errors: int = 0

    # --- a message arrives

    def received(self, messages: Sequence[Any], size: int) -> None:
        """Route what one read held. Called by the stream."""
        self.received_count += len(messages)
        mailbox, settle = self.mailbox, self.calls.settle
        try:
            for message in messages:
                if message.__class__ is not dict:
                    raise ProtocolError(f"a message must be an object, got {type(message).__name__}")
                if "jsonrpc" in message:
                    if "method" in message:
                        self.answers.request(message, size)
                    else:
                        if "result" not in message or "error" in message:
                            _rpc.check_reply(message)
                            self.refused_count += 1
                        settle(message)
                elif "cmd" in message and is_internal(message):
                    if wants_answer(message):  # Node sends nothing more until it has one (docs/wire.md, "A message")
                        self.stream.post(NACK, now=True)
                elif not mailbox.put(message, size) and mailbox.kept.dropped == 1:
                    logger.warning("nobody listens for %r, and the mailbox is full: dropped", kind_of(message))
        except ProtocolError as error:
            self.calls.report()
            self.break_off(error)
            return
        if self.calls.answered:
            self.calls.report()
        if mailbox.full or self.answers.bytes or self.stream.writer.queued > HIGH_WATER:
            self._check_flow()

    # --- a request of ours leaves

    def call(self, waiter: _rpc.Waiter, method: str, params: Params) -> int:
        """Send a request whose reply will settle `waiter`; return its id. EncodeError: nothing was sent."""
        if self.error is not None:  # nobody would ever settle it
            raise self.closed_error()
        if method.__class__ is not str:
            _rpc.check_method(method)
        stream = self.stream
        id = self.calls.next_id()
        if params is None:
            data = stream.encode({"jsonrpc": "2.0", "id": id, "method": method})
        else:
            if params.__class__ not in _rpc.CONTAINERS:
                params = _rpc.plain_params(params)
            data = stream.encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        self.calls.pending[id] = waiter  # before it is written: the reply can't be earlier
        stream.writer.write(data)
        stream.sent += 1
        if stream.reader.paused:
            self.somebody_waits()
        return id

    async def call_in_turn(self, waiter: _rpc.Waiter, method: str, params: Params) -> int:
        """Do as `call` when it is our turn to write. Cancelled while it waits, nothing was sent."""
        if not self.stream.writer.busy:
            return self.call(waiter, method, params)
        return await self.stream.in_turn(partial(self.call, waiter, method, params))

    def call_many(
        self, settle: Callable[[list[_rpc.Answer], bool], object], method: str, many: Sequence[Params]
    ) -> None:
        """Send a request for each of `many` params; `settle` hears of the answers. EncodeError: nothing was sent."""
        if self.error is not None:
            raise self.closed_error()
        _rpc.check_method(method)
        stream, calls = self.stream, self.calls
        encode, first = stream.encode, calls.next_id(len(many))
        data: list[bytes | Sequence[Buffer]] = []
        for id, params in enumerate(many, first):
            request: _rpc.Message = {"jsonrpc": "2.0", "id": id, "method": method}
            if params is not None:
                if params.__class__ not in _rpc.CONTAINERS:
                    params = _rpc.plain_params(params)
                request["params"] = params
            data.append(encode(request))
        pending, group = calls.pending, _rpc.Group(first, settle)
        for id in range(first, first + len(data)):
            pending[id] = group  # before they are written: a reply can't be earlier
        stream.writer.write_many(data)
        stream.sent += len(many)
        if stream.reader.paused:
            self.somebody_waits()

    # --- flow

    def _check_flow(self) -> None:
        if self.stream.writer.queued > self._max_queued:
            self.break_off(Overrun("the peer asks for more and more, and does not read the answers"))
        elif not self._is_waited_for() and self.mailbox.full:  # in this order: to look who waits may make room
            self.stream.reader.pause()
        elif (held := self.mailbox.queued_bytes + self.answers.bytes) > self._max_queued:
            self.break_off(Overrun(f"{held} bytes are held for listeners that do not read, while others wait"))

    def _is_waited_for(self) -> bool:
        """Tell whether anybody here needs a message that is still to come: then reading goes on."""
        return bool(self.mailbox.waiting or self.calls.pending or self.answers.running or self.stream.writer.senders)

    def release_held(self) -> None:
        """Answer the requests that were held. Whoever runs then may be cancelled: that is still to be read."""
        self.answers.release_held()
        self.somebody_waits()

    def count_error(self) -> None:
        self.handler_errors += 1

    # --- the end

    def fail_waits(self) -> None:
        self.mailbox.end()
        self.calls.end(self.closed_error())

    @property
    def ends_quietly(self) -> bool:
        """Tell whether an iteration just stops at the end: in a child, unless the parent broke the rules."""
        return self.is_child and not isinstance(self.error, (ProtocolError, Overrun))
