"""A program as a stream of messages: whatever it speaks on its stdin and stdout, or on a channel of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, Literal, cast, final, overload

from anyio import move_on_after

from ._claims import DELIVERED, WITHDRAWN
from ._errors import CLOSED_HERE, ChannelClosed
from ._group import bare_task_group
from ._inbox import Inbox, Receiver
from ._owner import EXIT_TIME, Child, OwnsChild
from ._process import start_process
from ._stream import MAX_MESSAGE, check_mailbox
from .codecs._check import check_codec
from .codecs._codec import MessageT

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from typing import Self

    from ._spawn import Stderr
    from .codecs import Codec


@final
class ChildStream(OwnsChild, Generic[MessageT]):
    """A child process, and the messages it takes and gives. Made by `open_stream`.

    Received messages wait in a queue; when it is full (1000 messages, `mailbox`) and no `send` waits, reading pauses,
    and so the child does. Several tasks may `receive`: first come, first served, and cancelling one loses nothing.
    """

    def __init__(self, inbox: Inbox, child: Child) -> None:
        self._inbox = inbox
        self._child = child

    @property
    def active(self) -> bool:
        """True until the stream has ended: while False, nothing more can be sent, or awaited."""
        return self._inbox.error is None

    async def send(self, message: MessageT) -> None:
        """Send one message. Waits while the child does not read and the send buffer is full.

        Cancelled while it waits, nothing was sent: never half a message. Raises EncodeError (nothing was sent), or
        ChannelClosed if the child is gone or does not read its input any more: half a second later, if it lives on.
        """
        inbox = self._inbox
        inbox.check_thread()
        await inbox.stream.send(message)
        if inbox.stream.writer.broken:  # most likely it has died, and the exit status is on its way
            with move_on_after(EXIT_TIME):
                await inbox.raise_when_settled()
        self._check_sent()

    def send_nowait(self, message: MessageT) -> None:
        """Send as `send` does, or raise WouldBlock where it would wait."""
        inbox = self._inbox
        inbox.check_thread()
        inbox.stream.send_nowait(message)
        self._check_sent()

    def _check_sent(self) -> None:
        inbox = self._inbox
        if inbox.error is not None:
            raise inbox.closed_error()
        if inbox.stream.writer.broken:
            closed = ChannelClosed("the child does not read its input any more", pid=self.pid, stderr=self.stderr)
            closed.unread = inbox.unread()
            raise closed

    async def send_eof(self) -> None:
        """Send nothing more: the child sees the end of its stdin, after all that was sent; it can still answer.

        Waits until the child has read it, or is gone. Idempotent. RuntimeError over a channel, which has one end for
        both directions.
        """
        self._inbox.check_thread()
        stream = self._inbox.stream
        if not stream.is_pair:
            raise RuntimeError("a channel has one end for both directions: to close it, leave the block")
        await stream.drained()
        stream.close_output()

    async def receive(self) -> MessageT:
        """Return the next message.

        Raises ChannelClosed when the child has ended and everything it sent was received, with its exit status.
        """
        inbox = self._inbox
        while not inbox.queue:
            if inbox.error is not None:
                raise inbox.closed_error()
            inbox.check_thread()
            claim = await inbox.park()
            if claim.state == DELIVERED:
                return cast("MessageT", claim.take())
            if claim.state == WITHDRAWN:
                raise RuntimeError("the conversation is over in which this receive() began to wait")
        return cast("MessageT", inbox.pop())

    # --- without a task or a switch per message

    def post(self, message: MessageT) -> None:
        """Send without ever waiting: what can't be written yet is kept. The caller bounds what is in flight.

        Raises EncodeError (nothing was sent) or ChannelClosed.
        """
        inbox = self._inbox
        if get_ident() != inbox.thread:
            raise inbox.elsewhere()
        inbox.stream.post(message)
        self._check_sent()

    def attach(self, receiver: Receiver[MessageT]) -> None:
        """Hand what is received to `receiver`, straight from the read callback, instead of queueing it for `receive`.

        Reading never pauses then. `receiver.closed` is called once, after the last message.
        """
        self._inbox.check_thread()
        self._inbox.attach(receiver)

    # --- one conversation after another

    @property
    def sent(self) -> int:
        """How many messages were sent so far."""
        return self._inbox.stream.sent

    @property
    def received(self) -> int:
        """How many messages were received so far."""
        return self._inbox.received_count

    refused = 0  # it makes no requests, so none is answered with an error

    def discard(self) -> None:
        """Drop what was received and not read."""
        self._inbox.discard()

    def conversation(self) -> AbstractContextManager[None]:
        """Return a scope for one conversation: it begins with nothing left over, and leaves no `receive` behind.

        One that still waits when it is left, in a task that outlives it, raises RuntimeError there.
        """
        return self._inbox.conversation()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MessageT:
        """Return the next message; the iteration ends if the child exits with code 0, else it raises ChannelClosed."""
        try:
            return await self.receive()
        except ChannelClosed as error:
            left = error.__class__ is ChannelClosed and error.reason != CLOSED_HERE
            if left and error.returncode == 0 and not error.truncated:
                raise StopAsyncIteration from None
            raise


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
        mailbox: how many received messages may wait before reading pauses; at least 1.
        max_message: bytes; a larger message is MessageTooLarge, and ends the child.
        cwd: the child's working directory; None is this process's.
        env: variables to add to what is inherited.
        inherit_env: True is all of this process's variables, a collection of names only those, False none.
        stderr: of the child: "forward" (passed on to this process's) or "capture" (not shown): of both, the last 64 KiB
            are kept for `ChannelClosed.stderr`. Or "inherit", "devnull", an open file or descriptor.

    Raises:
        SpawnError: the command can't be started. Nothing was left behind.
    """
    if over not in ("stdio", "channel"):
        raise ValueError(f"over must be 'stdio' or 'channel', got {over!r}")
    if codec is None:
        from .codecs import TextLines

        codec = cast("Codec[Any]", TextLines())
    check_codec(codec)
    check_mailbox(mailbox)
    options: dict[str, Any] = {"cwd": cwd, "env": env, "inherit_env": inherit_env, "stderr": stderr}
    options |= {"channel": over == "channel", "stdio": over == "stdio"}
    return _open_stream(command, codec, options, mailbox=mailbox, max_message=max_message)


@asynccontextmanager
async def _open_stream(
    command: Sequence[str | os.PathLike[str]], codec: Codec[Any], options: dict[str, Any], **limits: int
) -> AsyncGenerator[ChildStream[Any], None]:
    async with start_process(command, **options) as process, bare_task_group() as (group, loop):
        child = Child(process)
        inbox = Inbox(loop, group, child, codec, **limits)
        child.attach(inbox)
        async with child.destroyed_on_leaving():
            yield ChildStream(inbox, child)
