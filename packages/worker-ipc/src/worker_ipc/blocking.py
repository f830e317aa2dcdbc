"""The child's end of a channel for a script without an event loop.

    from worker_ipc.blocking import open_parent

    with open_parent() as channel:
        channel.send("ready")
        for message in channel.listen("request"):
            channel.send("response", {"data": message["data"] * 2})

or, when the parent calls functions:

    with open_parent() as channel:
        channel.serve({"double": lambda text: text * 2})

The same wire and the same words as `worker_ipc.open_parent`, at the price of a few milliseconds of start-up: neither
asyncio nor anyio is imported. Everything blocks, and one thing happens at a time: the reply to a request is in the
parent's hands before the next message is handled, so a crash can't lose what was already answered. For functions that
are `async`, use `worker_ipc.open_parent`.
"""

from __future__ import annotations

import os
from time import monotonic

from . import _rpc
from ._adopt import adopt
from ._blocking_dispatch import LATE, Dispatch
from ._claims import WAITING
from ._errors import ChannelClosed
from ._events import event
from ._interrupts import ignore_interrupts
from ._watchdog import watch_parent
from .codecs._check import check_codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from types import TracebackType
    from typing import Any, Self

    from ._claims import Subscription
    from ._rpc import Message, Params
    from .codecs import Codec

__all__ = ["ChildChannel", "open_parent"]

_MAX_MESSAGE = 64 * 2**20


def open_parent(*, codec: Codec[Any] | None = None, max_message: int = _MAX_MESSAGE) -> ChildChannel:
    """Open the channel to the process that started this one. The result is a context manager.

    From here on the two variables that announced the channel are gone from `os.environ`, and no process started here
    inherits it. When the parent dies, this process ends within a second, whatever it is doing. Ctrl-C is the parent's:
    if this process shares its parent's group, SIGINT is ignored until the channel is closed.

    Args:
        codec: how messages become bytes; None is `JsonLines()`. Both ends must use the same.
        max_message: bytes; a larger message from the parent breaks the channel (`MessageTooLarge`).

    Raises:
        NoChannel: this process was not started with a channel that it can use. The text says what to do.
        TypeError: `codec` is none. The channel can still be opened.
    """
    if codec is None:
        from .codecs._json_lines import JsonLines

        codec = JsonLines()
    check_codec(codec)
    return ChildChannel(adopt(), codec, max_message)


class ChildChannel:
    """The conversation with the parent, one thing at a time. Made by `open_parent`.

    What the parent sends is read only inside the methods that wait: `listen`, `listen_once`, `request` and `serve` (and
    a `send` that has to wait for a parent that is not reading). While they wait, requests of the parent are answered by
    the functions given to `handle`. Events that nobody listened for are kept: 1000 messages, 16 MiB.

    `send` and `notify` may be called from any thread, the rest only from the one that opened the channel. A process
    forked from this one must not use the channel.

    Leaving the ``with`` block closes the channel. Nothing is left to flush: what was sent is in the parent's hands. If
    the block is left because the parent is gone, that is a quiet end: `ChannelClosed` does not come out of it (its
    subclasses, which tell of a parent that broke the rules, do).
    """

    def __init__(self, fd: int, codec: Codec[Any], max_message: int) -> None:
        self._dispatch = dispatch = Dispatch(fd, codec, max_message)
        self._mailbox = dispatch.mailbox
        self._wire = dispatch.wire
        self._encode = codec.encode
        self._write = dispatch.write
        self._step = dispatch.step
        self._keep = dispatch.keep
        self._takers = 0  # loops and waits for a message that are under way
        self._restore_interrupts = ignore_interrupts()
        watch_parent(fd)
        os.register_at_fork(after_in_child=dispatch.wire.become_copy)

    # --- events

    def send(self, type: str, data: Mapping[str, Any] | None = None) -> None:
        """Send an event: ``{"type": type, **data}``. When this returns, the message is in the kernel's hands.

        Waits while the parent does not read, receiving meanwhile.

        Raises:
            EncodeError: the message would not arrive as it is. Nothing was sent.
            ChannelClosed: the parent is gone.
            Overrun: the parent floods this process, and does not read either.
        """
        self._write(event(type, data))

    def listen(self, type: str | None = None) -> Generator[Message]:
        """Iterate over the messages of one type (None: of all); the loop ends when the parent closes the channel.

        Requests are answered while the loop waits. What was kept for this type comes first.

        Raises:
            ProtocolError: the parent broke the rules of the wire.
        """
        mailbox = self._mailbox
        mailbox.tidy()
        subscription = mailbox.subscribe(type)
        self._takers += 1
        leave: Callable[[Subscription], object] = mailbox.unsubscribe
        try:
            while (message := self._next(subscription)) is not None:
                yield message
        except GeneratorExit:  # also from the collector: in any thread, in the middle of anything
            leave = mailbox.drop
            raise
        finally:
            leave(subscription)
            self._takers -= 1

    def _next(self, subscription: Subscription) -> Message | None:
        """Return the next message for a subscription; None: the parent has closed the channel.

        It may also come while a function is answering that itself waits, and the end right after it.
        """
        mailbox, type = self._mailbox, subscription.type
        try:
            while True:
                if (mailbox.kept.count or subscription.queue) and (found := mailbox.next(subscription)) is not None:
                    return found
                message = self._step()
                if message is not None:
                    if (message.get("type") == type or type is None) and self._takers == 1 and not mailbox.dropped:
                        return message
                    self._keep(message)  # for somebody else, or not only for us
                else:
                    mailbox.tidy()  # a function of the user may have left a loop, and what that had not read is ours
        except ChannelClosed as error:
            if error.__class__ is not ChannelClosed:
                raise
            return mailbox.next(subscription)

    def listen_once(self, type: str | None = None, *, timeout: float | None = None) -> Message:
        """Wait for the next message of one type (None: of any) and return it.

        Raises:
            TimeoutError: none came within `timeout` seconds.
            ChannelClosed: the parent is gone, or goes.
        """
        deadline = None if timeout is None else monotonic() + timeout
        claim = self._mailbox.claim(type)
        self._takers += 1
        try:
            self._receive_until(lambda: claim.state != WAITING, deadline)
            return claim.take()
        finally:
            self._takers -= 1
            self._mailbox.withdraw(claim)

    def _receive_until(self, is_done: Callable[[], bool], deadline: float | None) -> None:
        """Receive until `is_done()`: perhaps by what a function that answered received, right before the end.

        After the deadline, what had arrived by then is dealt with, and no more: the parent may go on for ever.
        """
        late: int | None = None
        while not is_done():
            if deadline is not None and monotonic() >= deadline:
                late = self._dispatch.gather() if late is None else late - 1
                if late <= 0 and self._wire.end is None:
                    raise TimeoutError(LATE)
            try:
                message = self._step(deadline)
            except ChannelClosed:
                if is_done():
                    return
                raise
            if message is not None:
                self._keep(message)
            else:
                self._mailbox.tidy()

    # --- requests

    def request(self, method: str, params: Params = None, *, timeout: float | None = None) -> Any:
        """Call a function of the parent and return its result (JSON-RPC 2.0).

        `params`: a sequence gives the positional arguments, a mapping the keyword arguments. Requests of the parent are
        answered while this waits, so the two may call each other.

        Raises:
            RemoteError: the function raised, or there is no such function.
            TimeoutError: no reply came within `timeout` seconds. The parent is told.
            ChannelClosed: the parent is gone, or goes.
        """
        deadline = None if timeout is None else monotonic() + timeout
        reply = _Reply()
        calls = self._dispatch.calls
        id = calls.open(reply)
        try:
            data = self._encode(_rpc.request(id, method, params))
        except BaseException:
            calls.abandon(id)
            raise
        try:
            self._wire.write(data)
            self._receive_until(reply.done, deadline)
        finally:
            if calls.abandon(id) and self._wire.end is None:
                self._write(_rpc.notification(_rpc.CANCEL, {"id": id}))
        return _rpc.outcome(reply.message)

    def notify(self, method: str, params: Params = None) -> None:
        """Call a function of the parent without waiting for an answer. Raises as `send` does."""
        self._write(_rpc.notification(method, params))

    def handle(self, method: str, function: Callable[..., Any]) -> None:
        """Answer the parent's requests for `method` by calling `function`, from now on, whenever this process listens.

        A sequence of params is passed as positional, a mapping as keyword arguments. Whatever the function raises
        becomes an error reply with the type, the text and the traceback, also SystemExit: to end this process, close
        the channel. A request that the parent has cancelled before it was started is not started.

        Raises:
            TypeError: the function is `async`: nothing here could await it. Use `worker_ipc.open_parent`.
        """
        self._dispatch.answers.register(method, function)

    def serve(self, functions: Mapping[str, Callable[..., Any]] | None = None) -> None:
        """Answer requests, by `functions` and by those given to `handle`, until the parent closes the channel.

        Raises:
            ProtocolError: the parent broke the rules of the wire.
        """
        for method, function in (functions or {}).items():
            self._dispatch.answers.register(method, function)
        self._dispatch.answers.release_held()
        try:
            while True:
                message = self._step()
                if message is not None:
                    self._keep(message)
        except ChannelClosed as error:
            if error.__class__ is not ChannelClosed:
                raise

    # --- the end

    def close(self) -> None:
        """Close the channel: the parent sees its end. Idempotent. The methods raise ChannelClosed afterwards."""
        self._wire.close()
        self._restore_interrupts()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        parent_is_gone = kind is ChannelClosed and self._wire.parent_left and self._wire.fd >= 0
        self.close()
        return parent_is_gone


class _Reply:
    """Where the reply to a request is put."""

    __slots__ = ("message",)

    def __init__(self) -> None:
        self.message: Any = None

    def done(self) -> bool:
        return self.message is not None

    def set_result(self, message: Any) -> None:
        self.message = message
