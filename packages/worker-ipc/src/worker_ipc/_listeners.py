"""The awaitable faces of the mailbox: one wait, one iteration, one handler loop.

Each is a handle on a claim or a subscription, and gives it up when it is dropped: the mailbox holds the claim, but
only its user holds the handle. So a `break`, an exception or a forgotten wait leaves nothing behind that would
swallow a message. (While a task is parked, its frame holds the handle, and the claim's waiter holds the task.)
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, final

from ._claims import DELIVERED, FAILED, WAITING, kind_of
from ._errors import ChannelClosed
from ._foreign import is_foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Self

    from ._claims import Claim, Subscription
    from ._core import Core
    from ._rpc import Message

logger = logging.getLogger("worker_ipc")


@final
class Wait:
    """The wait for one message that `listen_once` registered. Await it once; drop or `cancel()` it to withdraw it.

    Awaiting returns the message. If the awaiting task is cancelled in the instant of delivery, the message goes to the
    next wait, or back to the mailbox. Raises ChannelClosed when the channel ends first.
    """

    __slots__ = ("_claim", "_core")

    def __init__(self, core: Core, claim: Claim) -> None:
        self._core = core
        self._claim = claim

    def __await__(self) -> Generator[Any, Any, Message]:
        claim = self._claim
        if claim.state == WAITING:
            if claim.waiter is not None:
                raise RuntimeError("this wait is awaited by another task already; call listen_once() for each")
            self._core.check_thread()
            claim.waiter = waiter = self._core.loop.waiter()
            try:
                yield from waiter.__await__()
            except BaseException:
                self.cancel()
                raise
        if claim.state == DELIVERED:
            return claim.take()
        if claim.state == FAILED:
            raise self._core.closed_error()
        raise RuntimeError("this wait was taken or withdrawn already; call listen_once() for each message")

    def cancel(self) -> None:
        """Withdraw the wait. A message that it had been given and nobody took goes to the next. Idempotent."""
        self._core.mailbox.withdraw(self._claim)

    def __del__(self) -> None:
        if self._claim.state in (WAITING, DELIVERED):
            self._core.mailbox.drop(self._claim)


@final
class Listener:
    """The messages of one type, from `listen`: an async iterator, and a context manager that unregisters.

        async for message in channel.listen("progress"): ...        # leaving the loop unregisters

        with channel.listen("progress") as messages:                # registered before the request is sent
            await channel.send("request")
            async for message in messages: ...

    Several tasks may iterate over one listener: each message goes to one of them. Cancelling an iteration loses
    nothing. What was received and not read when it unregisters goes to whoever asks next.
    """

    __slots__ = ("_core", "_subscription")

    def __init__(self, core: Core, subscription: Subscription) -> None:
        self._core = core
        self._subscription = subscription

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        core, subscription = self._core, self._subscription
        mailbox = core.mailbox
        while (message := mailbox.next(subscription)) is None:
            if subscription.closed:
                raise StopAsyncIteration
            if mailbox.ended:
                if core.ends_quietly:
                    raise StopAsyncIteration
                raise core.closed_error()
            claim = await self._park()
            if claim.state == DELIVERED:
                return claim.take()
            if subscription.closed:  # what it had not read is somebody else's now
                raise StopAsyncIteration
        return message

    async def _park(self) -> Claim:
        core, subscription = self._core, self._subscription
        core.check_thread()
        waiter = core.loop.waiter()
        claim = subscription.join(waiter)
        core.somebody_waits()
        try:
            await waiter
        except BaseException:
            core.mailbox.leave(subscription, claim)
            raise
        return claim

    def close(self) -> None:
        """Unregister; whoever iterates over it comes to the end. Idempotent."""
        self._core.mailbox.unsubscribe(self._subscription)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._subscription.closed:
            self._core.mailbox.drop(self._subscription)


async def run_handler(listener: Listener, handler: Callable[[Message], object], on_error: Callable[[], None]) -> None:
    """Call `handler` with each message, one at a time. What it raises is logged and counted; it stays."""
    while True:
        try:
            message = await listener.__anext__()
        except (StopAsyncIteration, ChannelClosed):
            return
        try:
            result = handler(message)
            if inspect.isawaitable(result):
                await result
        except BaseException as error:
            if not isinstance(error, Exception) and not is_foreign(error):
                raise
            on_error()
            logger.exception("a handler for %r failed; it stays", kind_of(message))
