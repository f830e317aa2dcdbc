"""What a program has sent and nobody read yet: the engine of a `ChildStream`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, final

from ._claims import FAILED, Line
from ._ending import Ending
from ._errors import ChannelClosed, Overrun
from ._stream import MAX_QUEUED, MessageStream

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Generator, Sequence

    from anyio.abc import TaskGroup

    from ._claims import Claim, Entry
    from ._owner import Child
    from ._readiness import Loop
    from .codecs import Codec

MessageT_contra = TypeVar("MessageT_contra", contravariant=True)


class Receiver(Protocol[MessageT_contra]):
    """Who takes messages straight from the read callback, see `ChildStream.attach`. Neither method may raise."""

    def received(self, messages: Sequence[MessageT_contra], /) -> None:
        """Take the messages that one read held."""

    def closed(self, error: ChannelClosed, /) -> None:
        """No more messages come, and this is why. Called once."""


@final
class Inbox(Ending):
    """What was received and not read yet, and who waits for it."""

    def __init__(
        self, loop: Loop, group: TaskGroup, child: Child, codec: Codec[Any], *, mailbox: int, max_message: int
    ) -> None:
        super().__init__(loop, group, child)
        self._limit = mailbox
        self._max_queued = max(MAX_QUEUED, max_message)
        self._line = Line()
        self.queue: deque[Entry] = self._line.queue  # looked at for every message
        self.received_count: int = 0
        self._receiver: Receiver[Any] | None = None
        descriptors = child.process.fd_in, child.process.fd_out
        self.stream: MessageStream[Any] = MessageStream(loop, descriptors, codec, self, max_message=max_message)

    def received(self, messages: Sequence[Any], size: int) -> None:
        """Queue what one read held. The stream calls this."""
        first = self.received_count
        self.received_count += len(messages)
        if self._receiver is not None:
            self._receiver.received(messages)
            return
        line, queue = self._line, self.queue
        for number, message in enumerate(messages, first):
            entry = (number, message, size, None)
            if not (line.claims and line.give(entry)):
                queue.append(entry)
                line.bytes += size
        if line.bytes > self._max_queued and self.stream.writer.senders:
            self.break_off(Overrun(f"{line.bytes} bytes were received while nobody reads, and a send waits"))
        elif self.is_full and not self.stream.writer.senders:
            self.stream.reader.pause()

    @property
    def is_full(self) -> bool:
        """Tell whether reading should pause."""
        return len(self.queue) >= self._limit or self._line.bytes > self._max_queued

    def pop(self) -> Any:
        """Take out the oldest message."""
        _, message, size, _ = self.queue.popleft()
        self._line.bytes -= size
        if self.stream.reader.paused and len(self.queue) <= self._limit // 2:
            self.stream.reader.resume()  # at half: not one message at a time
        return message

    async def park(self) -> Claim:
        """Wait for the next message, first come, first served; the claim fails if no more come."""
        waiter = self.loop.waiter()
        claim = self._line.join(waiter)
        try:
            await waiter
        except BaseException:
            entry = self._line.leave(claim)
            if entry is not None and not self._line.give(entry):
                self._line.put_back(entry)
            raise
        return claim

    def fail_waits(self) -> None:
        """Let everyone look who waits for a message."""
        self._line.dismiss(FAILED)
        if self._receiver is not None:
            self._receiver.closed(self.closed_error())

    def attach(self, receiver: Receiver[Any]) -> None:
        """See `ChildStream.attach`."""
        self._receiver = receiver
        if self.queue:
            receiver.received([message for _, message, _, _ in self.queue])
        self.discard()
        if self.error is not None:
            receiver.closed(self.closed_error())

    @contextmanager
    def conversation(self) -> Generator[None]:
        """See `ChildStream.conversation`."""
        self.discard()
        before = {*self._line.given, *self._line.claims}
        try:
            yield
        finally:
            self._line.withdraw(before)

    def discard(self) -> None:
        """See `ChildStream.discard`."""
        self.queue.clear()
        self._line.bytes = 0
        self.somebody_waits()
