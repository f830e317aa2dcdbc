"""From a thread to an event loop and back, without waiting for a loop that has ended.

asyncio forgets what it was handed last when it is closed, and whoever waits for that (`anyio.from_thread.run_sync`
does) waits for ever. trio does what it has accepted before it ends.
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ._errors import SourceClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.lowlevel import EventLoopToken

# As a rule a loop answers in less than a millisecond. So nobody looks whether it has been closed but who waits for one
# that is busy, or gone; and a thread that has to end before the interpreter can keeps it no longer than this.
LOOK_SECONDS = 0.1


def call_in_loop(token: EventLoopToken, function: Callable[[], object]) -> None:
    """Call `function` in the event loop, from another thread, and return when that is done. Raises what it raises.

    Raises `SourceClosed` if the loop has ended: then it has not been called, and never will be.
    """
    loop: Any = token.native_token  # an event loop of asyncio, or a TrioToken
    answers: SimpleQueue[BaseException | None] = SimpleQueue()

    def call() -> None:
        try:
            function()
        except BaseException as error:
            answers.put(error)
            if not isinstance(error, Exception):
                raise
        else:
            answers.put(None)

    is_trio = hasattr(loop, "run_sync_soon")
    try:
        (loop.run_sync_soon if is_trio else loop.call_soon_threadsafe)(call)
    except RuntimeError as error:
        raise SourceClosed("the event loop of the source has ended") from error
    raised = answers.get() if is_trio else _answer_of(loop, answers)
    if raised is not None:
        try:
            raise raised
        finally:
            del raised  # or it would hold this frame, which holds it, and with it the item


def _answer_of(loop: Any, answers: SimpleQueue[BaseException | None]) -> BaseException | None:
    while True:
        closed = loop.is_closed()  # before we look: what it has done, it did before it was closed
        try:
            return answers.get(timeout=0 if closed else LOOK_SECONDS)
        except Empty:
            if closed:
                raise SourceClosed("the event loop of the source has ended") from None


def wake(token: EventLoopToken) -> None:
    """Have the loop look: a signal handler of Python runs in its thread while it sleeps, and does not end the sleep."""
    loop: Any = token.native_token
    with suppress(RuntimeError):
        (loop.run_sync_soon if hasattr(loop, "run_sync_soon") else loop.call_soon_threadsafe)(int)
