"""One message at a time, to where it belongs: a waiting request, an answering function, a listener, the mailbox."""

from __future__ import annotations

from time import monotonic

from . import _rpc
from ._blocking_answers import Answers
from ._blocking_wire import Wire
from ._claims import kind_of
from ._errors import ChannelClosed, Overrun, ProtocolError
from ._events import NACK, is_internal, wants_answer
from ._mailbox import Mailbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._rpc import Message
    from .codecs import Codec

LATE = "nothing came in time"
_MAX_HELD = 64 * 2**20  # bytes that may arrive while nobody listens: in a send that waits, or for an idle listener
_LOOK = 0.001  # seconds of work after which cancellations are looked for, before the next request is started
_READ_AHEAD = 256 * 1024  # bytes that may be read for that: what is not read holds the parent back
_READS = 4  # find all that has arrived: a socket of Linux holds 208 KiB


class Dispatch:
    """The state of one blocking channel. What it calls (a function of the user) may call its methods again."""

    def __init__(self, fd: int, codec: Codec[Any], max_message: int) -> None:
        self.wire = Wire(fd, codec, max_message, max(_MAX_HELD, max_message))
        self.answers = Answers(self.wire, codec)
        self.mailbox = Mailbox()
        self.calls = _rpc.Calls()
        self._encode = codec.encode
        self._inbox = self.wire.inbox
        self._max_held = max(_MAX_HELD, max_message)
        self._looked = 0.0

    def write(self, message: Message) -> None:
        """Encode a message and write it through."""
        self.wire.write(self._encode(message))

    def step(self, deadline: float | None = None) -> Message | None:
        """Receive until there is a message, and deal with one: return it if it is an event, else None.

        Raises TimeoutError after `deadline` (of `time.monotonic`), and why nothing more comes, once all that had come
        before was dealt with.
        """
        inbox = self._inbox
        while not inbox:
            if not self.wire.receive(None if deadline is None else deadline - monotonic()):
                raise TimeoutError(LATE)
            if len(inbox) > 1:
                self.answers.look_ahead(inbox)
        message = inbox.popleft()
        if message.__class__ is not dict:
            raise self._broken(f"a message must be an object, got {type(message).__name__}")
        if "jsonrpc" in message:
            try:
                if "method" in message:
                    self.answers.request(message)
                else:
                    _rpc.check_reply(message)
                    self.calls.settle(message)
            except ProtocolError as error:
                raise self._broken(str(error)) from None
            if inbox and monotonic() - self._looked > _LOOK:
                self._look()
            return None
        if "cmd" in message and is_internal(message):
            if wants_answer(message):
                self.answers.reply(NACK)
            return None
        return message

    def _look(self) -> None:
        """See whether some of the requests that wait here have been cancelled meanwhile."""
        if self.wire.held < _READ_AHEAD:
            self.wire.receive_ready()
            self.answers.look_ahead(self._inbox)
        self._looked = monotonic()

    def gather(self) -> int:
        """Receive what has arrived, about; return how many messages are to be dealt with."""
        for _ in range(_READS):
            if not self.wire.receive_ready():
                break
        self.answers.look_ahead(self._inbox)
        return len(self._inbox)

    def keep(self, event: Message) -> None:
        """Give an event to whoever waits for it, or keep it."""
        mailbox = self.mailbox
        if not mailbox.put(event, self.wire.average) and mailbox.kept.dropped == 1:
            import logging

            logging.getLogger("worker_ipc").warning(
                "nobody listens for %r, and the mailbox is full: dropped", kind_of(event)
            )
        if mailbox.full and mailbox.queued_bytes > self._max_held:
            raise self._fail(Overrun(f"more than {self._max_held} bytes wait for a listener that does not go on"))

    def _broken(self, reason: str) -> ProtocolError:
        error = ProtocolError(reason)
        self._fail(error)
        return error

    def _fail(self, error: ChannelClosed) -> ChannelClosed:
        self._inbox.clear()
        self.wire.end = error
        return error
