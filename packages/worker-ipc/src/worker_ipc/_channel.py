"""Channel: events and requests, for the tasks of one event loop. The public face; the engine is `_core`."""

from __future__ import annotations

from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any

from . import _rpc
from ._conversation import Conversation
from ._events import event
from ._listeners import Listener, Wait, run_handler
from ._requests import PendingRequest, cancel, request_in_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ._core import Core
    from ._errors import ChannelClosed, RemoteError
    from ._rpc import Message, Params


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """A snapshot of a channel's counters, from `Channel.statistics()`."""

    sent: int
    """Messages sent: events, requests and notifications."""
    received: int
    """Messages received, of any kind."""
    dropped: int
    """Messages that nobody claimed, beyond the bounds of the mailbox."""
    kept: int
    """Messages in the mailbox now: nobody claimed them yet."""
    kept_bytes: int
    """Their size: bytes as received, and 256 more for each."""
    queued_bytes: int
    """Bytes that listeners and handlers have not read yet, and of requests that are being answered."""
    unsent_bytes: int
    """Bytes that are accepted, but not handed to the kernel yet."""
    late_replies: int
    """Replies to nobody: unknown ids, doubled replies, replies after a cancellation or a timeout."""
    unhandled: int
    """Notifications for which no function is registered."""
    handler_errors: int
    """Exceptions raised by handlers and answering functions."""
    pending_requests: int
    """Our requests without a reply."""
    running_requests: int
    """The peer's requests that are being answered."""
    paused: bool
    """Reading is paused: a listener's queue is full, and nobody waits for anything."""


class Channel:
    """A conversation with another process. Made by `open_child` and `open_parent`, never by hand.

    **Events**: `send`, `send_nowait`; `listen_once`, `listen`, `listen_for`, `release`.
    **Requests** (JSON-RPC 2.0): `request`, `request_nowait`, `request_many_nowait`, `notify`; `handle`.

    Everything is for the tasks of one event loop; a call from another thread raises RuntimeError. Every wait ends: when
    the peer is gone, what had been received stays readable, and then every pending and future wait raises
    ChannelClosed.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def active(self) -> bool:
        """True until the channel has ended: while False, nothing more can be sent, or awaited."""
        return self._core.error is None

    @property
    def sent(self) -> int:
        """How many messages were sent so far, of any kind."""
        return self._core.stream.sent

    @property
    def received(self) -> int:
        """How many messages were received so far, of any kind."""
        return self._core.received_count

    @property
    def refused(self) -> int:
        """How many requests made here the peer has answered with an error."""
        return self._core.refused_count

    # --- events

    async def send(self, type: str, data: Mapping[str, Any] | None = None) -> None:
        """Send the message ``{"type": type, **data}``.

        Waits while the peer does not read and the send buffer is full (64 KiB). Cancelled while it waits, nothing was
        sent: never half a message. When it returns in a parent, the kernel has the message within a tick of the loop.
        In a child it has it already; cancelled while it waits for that, all of the message will still be sent.

        Raises EncodeError if the message would not arrive as it is (also for a `data` with the members ``type`` or
        ``jsonrpc``, or Node's reserved ``cmd``); the channel is unharmed. Raises ChannelClosed when the peer is gone.
        """
        core = self._core
        if get_ident() != core.thread:
            raise core.elsewhere()
        message = event(type, data)
        stream = core.stream
        await stream.send(message)
        if stream.writer.broken:
            await core.raise_when_settled()

    def send_nowait(self, type: str, data: Mapping[str, Any] | None = None) -> None:
        """Send as `send` does, or raise WouldBlock where it would wait."""
        core = self._core
        if core.error is not None:
            raise core.closed_error()
        core.check_thread()
        core.stream.send_nowait(event(type, data))

    def listen_once(self, type: str | None = None) -> Wait:
        """Register now for one message of this type (None: of any); await the result to get it.

        Waits are first come, first served, and one message settles one wait. A message that was received before, and
        that nobody took, is given at once.
        """
        core = self._core
        core.check_thread()
        wait = Wait(core, core.mailbox.claim(type))
        if core.stream.reader.paused:
            core.somebody_waits()
        return wait

    def listen(self, type: str | None = None) -> Listener:
        """Register now for all messages of this type (None: of any); iterate over the result to get them.

        In a child the iteration ends when the parent closes; in a parent it raises ChannelClosed when the child ends.
        When 1000 messages (`mailbox`) wait in it and nobody waits for anything else, reading pauses, which slows the
        peer; when 64 MiB are held while somebody does wait, the channel breaks with Overrun.
        """
        core = self._core
        core.check_thread()
        return Listener(core, core.mailbox.subscribe(type))

    def listen_for(self, type: str | None, handler: Callable[[Message], object]) -> Callable[[], None]:
        """Call a sync or async function with each message of this type; return a function that removes it.

        One message at a time for each handler, in order. A handler that raises is logged and counted, and stays. A
        handler that runs when it is removed runs to its end.
        """
        core = self._core
        if core.error is not None and not core.mailbox.kept.count:
            raise core.closed_error()
        _rpc.check_function(handler)
        listener = self.listen(type)
        try:
            core.group.start_soon(run_handler, listener, handler, core.count_error, name=f"worker_ipc handler {type}")
        except RuntimeError:  # the block was left
            listener.close()
            raise core.closed_error() from None
        return listener.close

    def release(self) -> None:
        """Remove every listener: waits, iterations, handlers of events. Functions from `handle` stay."""
        self._core.check_thread()
        self._core.mailbox.withdraw_since(0)

    # --- requests

    async def request(self, method: str, params: Params = None, *, timeout: float | None = None) -> Any:
        """Call a function of the peer and return its result. Many requests may be in flight at once.

        `params`: a sequence for positional, a mapping for keyword arguments. `timeout` in seconds; None: no limit.
        Cancelled or timed out, the peer is told (`$/cancelRequest`), and a late reply is dropped and counted.

        Raises RemoteError when the peer's function fails or does not exist, ChannelClosed when the peer is gone first,
        TimeoutError, or EncodeError (nothing was sent).
        """
        core = self._core
        if timeout is not None:
            core.check_thread()
            return await request_in_time(core, method, params, timeout)
        if get_ident() != core.thread:
            raise core.elsewhere()
        waiter, writer = core.loop.waiter(), core.stream.writer
        if writer.watching or writer.senders:
            id = await core.call_in_turn(waiter, method, params)
        else:  # nobody waits to write: the hot path
            id = core.call(waiter, method, params)
        try:
            reply = await waiter
        except BaseException:
            cancel(core, id)
            raise
        if reply.__class__ is dict:
            if "error" in reply:
                return _rpc.outcome(reply)
            return reply["result"]
        raise core.closed_error()

    def request_nowait(
        self, method: str, params: Params, settle: Callable[[Any, RemoteError | ChannelClosed | None], object]
    ) -> PendingRequest:
        """Call a function of the peer; `settle(result, error)` is called with what comes back.

        The form for throughput: no task and no future per call. `settle` is called exactly once, on the loop's thread,
        straight from the read callback: it must not block, and may make the next request, which then leaves in the
        same write. `error` is None, RemoteError or ChannelClosed. `cancel()` on what is returned withdraws the call.

        It never waits and never raises WouldBlock: a request that can't be written yet is queued, so the caller bounds
        memory by how many it has in flight. Raises ChannelClosed or EncodeError at the call; `settle` is not called.
        """
        core = self._core
        if get_ident() != core.thread:
            raise core.elsewhere()
        pending = PendingRequest(core, settle)
        pending.id = core.call(pending, method, params)
        return pending

    def request_many_nowait(
        self,
        method: str,
        params: Sequence[Params],
        settle: Callable[[list[tuple[int, Any, RemoteError | ChannelClosed | None]], bool], object],
    ) -> None:
        """Call a function of the peer once for each of `params`; all the requests leave together.

        `settle([(index, result, error), ...], more)` is called with as many answers as came together; `index` is the
        position in `params`. Each of them is answered exactly once, in any order. `more`: the settle function of
        another call is called next, without a turn of the loop in between. Else as `request_nowait`, at less than
        half the cost; there is nothing to cancel them with. EncodeError, if any of `params` can't be encoded: none
        was sent.
        """
        core = self._core
        if get_ident() != core.thread:
            raise core.elsewhere()
        core.call_many(settle, method, params)

    async def notify(self, method: str, params: Params = None) -> None:
        """Call a function of the peer without an answer. Waits and raises as `send` does."""
        core = self._core
        core.check_thread()
        await core.stream.send(_rpc.notification(method, params))
        if core.stream.writer.broken:
            await core.raise_when_settled()

    def handle(self, method: str, function: Callable[..., Any]) -> Callable[[], None]:
        """Answer the peer's requests for `method`; return a function that removes it again.

        The function may be sync or async; async ones run at once, each in a task of its own, and are cancelled when
        the peer cancels. What it raises, `SystemExit` included, reaches the peer as RemoteError with the traceback as
        text. A method without a function is refused; in a child, only from its first `handle` on: what came before is
        held for it.
        """
        core = self._core
        core.check_thread()
        remove = core.answers.register(method, function)
        if core.answers.holds:
            core.loop.soon(core.release_held)  # a tick later: more functions may be registered now
        if core.removers is not None:
            core.removers.append(remove)
        return remove

    # --- scopes and state

    def conversation(self) -> Conversation:
        """Return a scope for one conversation: it begins with an empty mailbox and leaves no listener behind.

            with channel.conversation():
                reply = channel.listen_once("response")
                ...

        Leaving withdraws every wait, iteration, handler and function registered on the channel since; those from before
        stay. Sync, and costs less than a microsecond. Conversations may be nested, not overlapped.
        """
        return Conversation(self._core)

    def statistics(self) -> ChannelStatistics:
        """Return a snapshot of the counters."""
        core = self._core
        mailbox, stream, answers = core.mailbox, core.stream, core.answers
        return ChannelStatistics(
            sent=stream.sent,
            received=core.received_count,
            dropped=mailbox.kept.dropped,
            kept=mailbox.kept.count,
            kept_bytes=mailbox.kept.bytes,
            queued_bytes=mailbox.queued_bytes + answers.bytes,
            unsent_bytes=stream.writer.queued,
            late_replies=core.calls.late,
            unhandled=answers.unknown,
            handler_errors=core.handler_errors + answers.errors,
            pending_requests=len(core.calls.pending),
            running_requests=answers.running,
            paused=stream.reader.paused,
        )
