"""What a function child says beside its answers: that it is ready, and what it logs. The parent's side."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from worker_ipc import ChannelClosed, ProtocolError

from ._errors import FunctionError, WorkerDied, printable

if TYPE_CHECKING:
    from worker_ipc import ChildStream


async def greeted(stream: ChildStream[Any], name: str, worker: str, *, joins: bool) -> bool:
    """Wait until the child is ready, passing on what it logs before; return whether it uses the journal.

    `name` is the function's, `worker` the worker's id; `joins`: the child's messages are lists. Raises FunctionError if
    it could not begin, WorkerDied if it died.
    """
    while True:
        try:
            message: Any = await stream.receive()
        except ChannelClosed as closed:
            raise WorkerDied.from_closed(name, "init", closed) from closed
        match message if joins else [message]:
            case [{"ready": bool(has_journal)}]:
                return has_journal
            case [{"failed": {"type": str(kind), "message": str(text), "traceback": str(trace)}}]:
                raise FunctionError(kind, text, trace)
            case [{"logger": str(logger), "level": int(level), "text": str(text)}]:
                pass_on(worker, logger, level, text)
            case _:
                raise ProtocolError(f"not the greeting of a function child: {message!r:.200}")


def pass_on(worker: str, name: str, level: int, text: str) -> None:
    """Log here what `worker`, by its id, has logged there."""
    if (logger := logging.getLogger(name)).isEnabledFor(level):  # else much that is logged would cost much
        logger.log(level, "[%s] %s", worker, printable(text), extra={"worker": worker})
