"""Our own requests: the callback form, which is the whole of it, and its handle.

The awaiting form is in `Channel.request`; both put something with `done` and `set_result` into the table of pending
replies (`_rpc.Calls`), and the reply settles it straight from the read callback.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, final

from anyio import CancelScope, Event, move_on_after
from anyio.lowlevel import checkpoint

from . import _rpc
from ._errors import ChannelClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core import Core
    from ._errors import RemoteError
    from ._rpc import Params, Reply

logger = logging.getLogger("worker_ipc")


@final
class PendingRequest:
    """A request made with `request_nowait`. Its `settle` is called exactly once, unless it is cancelled before."""

    __slots__ = ("_core", "_settle", "id")

    def __init__(self, core: Core, settle: Callable[[Any, RemoteError | ChannelClosed | None], object]) -> None:
        self._core = core
        self._settle: Callable[[Any, RemoteError | ChannelClosed | None], object] | None = settle
        self.id: int = 0

    def done(self) -> bool:
        """Tell whether it was settled or cancelled."""
        return self._settle is None

    def set_result(self, reply: Reply) -> None:
        """Settle it. The channel calls this."""
        settle, self._settle = self._settle, None
        if settle is None:
            return
        try:
            settle(*_rpc.settlement(reply))
        except Exception:
            logger.exception("the settle function of a request raised")

    def cancel(self) -> None:
        """Withdraw it: `settle` will not be called, and the peer is told. After it was settled, this does nothing."""
        self._core.check_thread()
        if self._settle is not None:
            self._settle = None
            cancel(self._core, self.id)


def cancel(core: Core, id: int) -> None:
    """Forget a request and tell the peer, if it was not settled yet."""
    if core.calls.abandon(id):
        core.stream.post(_rpc.notification(_rpc.CANCEL, {"id": id}))


async def request_in_time(core: Core, method: str, params: Params, timeout: float) -> Any:
    """See `Channel.request`. A reply that came while the event loop was blocked counts, however late it is noticed.

    Trio ends what is overdue before the task that reads has its turn; so that one is let go first.
    """
    answers: list[tuple[Any, RemoteError | ChannelClosed | None]] = []
    answered = Event()

    def settle(result: Any, error: RemoteError | ChannelClosed | None) -> None:
        answers.append((result, error))
        answered.set()

    pending = PendingRequest(core, settle)
    try:
        with move_on_after(timeout):
            pending.id = await core.call_in_turn(pending, method, params)
            await answered.wait()
        if pending.id and not answers:
            with CancelScope(shield=True):
                await checkpoint()
    finally:
        pending.cancel()  # does nothing if it was settled
    if not answers:
        raise TimeoutError(f"no reply to {method!r} within {timeout:g} s")
    ((result, error),) = answers
    if error is not None:
        raise core.closed_error() if isinstance(error, ChannelClosed) else error
    return result
