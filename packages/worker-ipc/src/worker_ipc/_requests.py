"""Our own requests: the callback form, which is the whole of it, and its handle.

The awaiting form is in `Channel.request`; both put something with `done` and `set_result` into the table of pending
replies (`_rpc.Calls`), and the reply settles it straight from the read callback.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, final

from . import _rpc
from ._errors import ChannelClosed, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._rpc import Calls, Reply
    from ._stream import MessageStream

logger = logging.getLogger("worker_ipc")


class Caller(Protocol):
    """The channel, as its requests see it."""

    _calls: Calls
    _stream: MessageStream[Any]


@final
class PendingRequest:
    """A request made with `request_nowait`. Its `settle` is called exactly once, unless it is cancelled before."""

    __slots__ = ("_caller", "_settle", "id")

    def __init__(self, caller: Caller, settle: Callable[[Any, RemoteError | ChannelClosed | None], object]) -> None:
        self._caller = caller
        self._settle: Callable[[Any, RemoteError | ChannelClosed | None], object] | None = settle
        self.id = 0

    def done(self) -> bool:
        """Tell whether it was settled or cancelled."""
        return self._settle is None

    def set_result(self, reply: Reply) -> None:
        """Settle it. The channel calls this."""
        settle, self._settle = self._settle, None
        if settle is None:
            return
        try:
            if isinstance(reply, ChannelClosed):
                settle(None, reply)
            elif (body := reply.get("error")) is None:
                settle(reply["result"], None)
            else:
                settle(None, _rpc.remote_error(body))
        except Exception:
            logger.exception("the settle function of a request raised")

    def cancel(self) -> None:
        """Withdraw it: `settle` will not be called, and the peer is told. After it was settled, this does nothing."""
        if self._settle is not None:
            self._settle = None
            cancel(self._caller, self.id)


def cancel(caller: Caller, id: int) -> None:
    """Forget a request and tell the peer, if it was not settled yet."""
    if caller._calls.abandon(id):
        caller._stream.post(_rpc.notification(_rpc.CANCEL, {"id": id}))
