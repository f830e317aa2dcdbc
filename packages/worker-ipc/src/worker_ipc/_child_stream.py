"""A program as a stream of messages: whatever it speaks on its stdin and stdout, or on a channel of its own."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, cast, final, overload

from ._errors import ChannelClosed, Overrun
from ._group import bare_task_group
from ._owner import ChildOwner, destroyed_on_leaving
from ._process import start_process
from ._readiness import Loop, Waiter, current_loop
from ._stream import MAX_MESSAGE, MAX_QUEUED, MessageStream
from .codecs._codec import MessageT

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from typing import Self

    from anyio.abc import TaskGroup

    from ._process import Process
    from ._spawn import Stderr
    from .codecs import Codec


MessageT_contra = TypeVar("MessageT_contra", contravariant=True)


class Receiver(Protocol[MessageT_contra]):
    """Who takes messages straight from the read callback, see `ChildStream.attach`. Neither method may raise."""

    def received(self, messages: Sequence[MessageT_contra], /) -> None:
        """Take the messages that one read held."""

    def closed(self, error: ChannelClosed, /) -> None:
        """No more messages come, and this is why. Called once."""


@final
class ChildStream(ChildOwner, Generic[MessageT]):
    """A child process, and the messages it takes and gives. Made by `open_stream`.

    Received messages wait in a queue; when it is full (1000 messages, `mailbox`) and no `send` waits, reading pauses,
    and so the child does. Several tasks may `receive`: first come, first served, and cancelling one loses nothing.
    """

    def __init__(
        self, loop: Loop, group: TaskGroup, process: Process, codec: Codec[MessageT], *, mailbox: int, max_message: int
    ) -> None:
        super().__init__()
        self._loop = loop
        self._group = group
        self._process = process
        self._limit = mailbox
        self._max_queued = max(MAX_QUEUED, max_message)
        self._queue: deque[tuple[MessageT, int]] = deque()
        self._queued_bytes = 0
        self._receivers: deque[Waiter] = deque()
        self._receiver: Receiver[MessageT] | None = None
        descriptors = process.fd_in, process.fd_out
        self._stream: MessageStream[MessageT] = MessageStream(loop, descriptors, codec, self, max_message=max_message)

    async def send(self, message: MessageT) -> None:
        """Send one message. Waits while the child does not read and the send buffer is full.

        Cancelled while waiting, nothing was sent; never is half a message. Raises EncodeError (nothing was sent), or
        ChannelClosed if the child is gone or does not read its input any more.
        """
        if self._error is not None:
            raise self._closed_error()
        if self._stream.writer.busy:
            self._somebody_waits()  # a blocked send keeps the reader going
        await self._stream.send(message)
        if self._stream.writer.broken:
            raise self._no_input() if self.active else self._closed_error()

    def send_nowait(self, message: MessageT) -> None:
        """Send as `send` does, or raise WouldBlock where it would wait."""
        if self._error is not None:
            raise self._closed_error()
        self._stream.send_nowait(message)

    def _no_input(self) -> ChannelClosed:
        return ChannelClosed("the child does not read its input any more", pid=self.pid, stderr=self.stderr)

    async def send_eof(self) -> None:
        """Send nothing more: the child sees the end of its stdin, after all that was sent; it can still answer.

        Waits until the child has read it, or is gone. (On a channel, the peer would take this for the end.)
        """
        if self._process.fd_in == self._process.fd_out:
            raise RuntimeError("a channel has one end for both directions: to close it, leave the block")
        await self._stream.writer.drained()
        self._stream.close_output()

    async def receive(self) -> MessageT:
        """Return the next message.

        Raises ChannelClosed when the child has ended and everything it sent was received, with its exit status.
        """
        while not self._queue:
            if self._error is not None:
                raise self._closed_error()
            await self._park()
        message, size = self._queue.popleft()
        self._queued_bytes -= size
        if self._stream.reader.paused and len(self._queue) <= self._limit // 2:
            self._stream.reader.resume()  # at half: not one message at a time
        return message

    async def _park(self) -> None:
        waiter = self._loop.waiter()
        self._receivers.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter in self._receivers:
                self._receivers.remove(waiter)
            elif self._queue:  # woken and cancelled at once: the message is still there
                self._wake()
            raise

    def _wake(self) -> None:
        while self._receivers:
            waiter = self._receivers.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MessageT:
        """Return the next message; the iteration ends if the child exits with code 0, else it raises ChannelClosed."""
        try:
            return await self.receive()
        except ChannelClosed as error:
            if error.__class__ is ChannelClosed and error.returncode == 0 and not error.truncated:
                raise StopAsyncIteration from None
            raise

    # --- without a task or a switch per message

    def post(self, message: MessageT) -> None:
        """Send without ever waiting: what can't be written yet is kept. The caller bounds what is in flight.

        Raises EncodeError (nothing was sent) or ChannelClosed.
        """
        if self._error is not None:
            raise self._closed_error()
        self._stream.post(message)

    def attach(self, receiver: Receiver[MessageT]) -> None:
        """Hand what is received to `receiver`, straight from the read callback, instead of queueing it for `receive`.

        Reading never pauses then. `receiver.closed` is called once, after the last message.
        """
        self._receiver = receiver
        if self._queue:
            receiver.received([message for message, _ in self._queue])
            self.discard()
        if self._error is not None:
            receiver.closed(self._closed_error())

    def discard(self) -> None:
        """Drop what was received and not read."""
        self._queue.clear()
        self._queued_bytes = 0
        self._somebody_waits()

    def conversation(self) -> AbstractContextManager[None]:
        """Return a scope for one conversation: it begins with nothing left over from the one before."""
        self.discard()
        return nullcontext()

    # --- the stream calls these

    def received(self, messages: Sequence[Any], size: int) -> None:
        """Queue what one read held."""
        if self._receiver is not None:
            self._receiver.received(messages)
            return
        for message in messages:
            self._queue.append((message, size))
            self._queued_bytes += size
            if self._receivers:
                self._wake()
        if len(self._queue) >= self._limit and not self._stream.writer.waiting:
            self._stream.reader.pause()
        elif self._queued_bytes > self._max_queued:
            self._break(Overrun(f"{self._queued_bytes} bytes were received while nobody reads, and a send waits"))

    def _fail_waits(self) -> None:
        while self._receivers:
            self._wake()
        if self._receiver is not None:
            self._receiver.closed(self._closed_error())


@overload
def open_stream(
    command: Sequence[str | os.PathLike[str]],
    codec: None = None,
    *,
    over: Literal["stdio", "channel"] = "stdio",
    mailbox: int = 1000,
    max_message: int = MAX_MESSAGE,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    inherit_env: bool | Collection[str] = True,
    stderr: Stderr = "forward",
) -> AbstractAsyncContextManager[ChildStream[str]]: ...
@overload
def open_stream(
    command: Sequence[str | os.PathLike[str]],
    codec: Codec[MessageT],
    *,
    over: Literal["stdio", "channel"] = "stdio",
    mailbox: int = 1000,
    max_message: int = MAX_MESSAGE,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    inherit_env: bool | Collection[str] = True,
    stderr: Stderr = "forward",
) -> AbstractAsyncContextManager[ChildStream[MessageT]]: ...
def open_stream(
    command: Sequence[str | os.PathLike[str]],
    codec: Codec[Any] | None = None,
    *,
    over: Literal["stdio", "channel"] = "stdio",
    mailbox: int = 1000,
    max_message: int = MAX_MESSAGE,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    inherit_env: bool | Collection[str] = True,
    stderr: Stderr = "forward",
) -> AbstractAsyncContextManager[ChildStream[Any]]:
    """Start a program and exchange messages with it on its stdin and stdout; end it on leaving, whatever happened.

        async with open_stream(["bc", "-l"]) as calculator:
            await calculator.send("6 * 7")
            print(await calculator.receive())                      # 42

    Leaving is `destroy(grace=5)`, or `destroy(grace=1)` when the block was cancelled, and is not cancellable itself. An
    exception of yours leaves as it is, never inside an ExceptionGroup.

    Args:
        command: the program and its arguments.
        codec: what it speaks; None is `TextLines()`. An MCP server: `JsonLines()`; a language server:
            `ContentLength()`.
        over: "stdio", or "channel": the same raw messages on the channel descriptor, for a child with a vocabulary of
            its own.
        mailbox: how many received messages may wait before reading pauses.
        max_message: bytes; a larger message is MessageTooLarge, and ends the child.
        cwd: the child's working directory; None is this process's.
        env: variables to add to what is inherited.
        inherit_env: True is all of this process's variables, a collection of names only those, False none.
        stderr: of the child; by default passed on to this process's, with its tail kept for `ChannelClosed.stderr`.

    Raises:
        SpawnError: the command can't be started. Nothing was left behind.
    """
    if over not in ("stdio", "channel"):
        raise ValueError(f"over must be 'stdio' or 'channel', got {over!r}")
    if codec is None:
        from .codecs import TextLines

        codec = cast("Codec[Any]", TextLines())
    options: dict[str, Any] = {"cwd": cwd, "env": env, "inherit_env": inherit_env, "stderr": stderr}
    options |= {"channel": over == "channel", "stdio": over == "stdio"}
    return _open_stream(command, codec, options, mailbox=mailbox, max_message=max_message)


@asynccontextmanager
async def _open_stream(
    command: Sequence[str | os.PathLike[str]], codec: Codec[Any], options: dict[str, Any], **limits: int
) -> AsyncGenerator[ChildStream[Any], None]:
    async with start_process(command, **options) as process, bare_task_group() as group:
        stream: ChildStream[Any] = ChildStream(current_loop(group), group, process, codec, **limits)
        stream._start()
        async with destroyed_on_leaving(stream):
            yield stream
