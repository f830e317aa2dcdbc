"""What an event looks like on the wire, and what is never one: Node's reserved messages.

An object whose `cmd` begins with ``NODE_`` is Node talking to itself: it never reaches the user, and no user may send
one (a stray ``NODE_HANDLE_ACK`` kills a Node peer). The only one that must be answered is ``NODE_HANDLE``: until it is,
a Node peer queues everything that it sends after it.

`worker_ipc.blocking` uses this module too, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping

from ._errors import EncodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._rpc import Message

NACK: Message = {"cmd": "NODE_HANDLE_NACK"}
"""The answer to ``NODE_HANDLE``: the descriptor was not taken, and the message that carried it is not delivered."""


def event(type: str, data: Mapping[str, Any] | None = None) -> Message:
    """Build the message ``{"type": type, **data}``. Raises EncodeError if that would not arrive as the same event."""
    if type.__class__ is not str:
        raise EncodeError(f"the type of a message must be str, got {type!r}")
    if data is None:
        return {"type": type}
    if data.__class__ is not dict:
        _check_mapping(data)
    if "type" in data or "jsonrpc" in data or "cmd" in data:
        _check(data)
    return {"type": type, **data}


def check_type(type: object) -> None:
    """Refuse to wait for what nobody can send."""
    if type is not None and not isinstance(type, str):
        raise TypeError(f"the type of a message must be str, or None for any, got {type!r:.100}")


def is_internal(message: Message) -> bool:
    """Whether a received object is Node's own, and not a message."""
    cmd = message.get("cmd")
    return isinstance(cmd, str) and len(cmd) > 5 and cmd.startswith("NODE_")


def wants_answer(message: Message) -> bool:
    """Whether Node waits for `NACK` after this internal message."""
    return bool(message["cmd"] == "NODE_HANDLE")


def _check_mapping(data: object) -> None:
    if not isinstance(data, Mapping):
        raise TypeError(f"the data of a message must be a mapping, got {data!r:.100}")


def _check(data: Mapping[str, Any]) -> None:
    for name in ("type", "jsonrpc"):
        if name in data:
            raise EncodeError(f"the data of a message must not have the member {name!r}: it is the channel's own")
    # Node itself keeps those of more than five characters, Deno also the bare prefix.
    if str(data["cmd"]).startswith("NODE_"):
        raise EncodeError(
            f"a message must not have a cmd that begins with NODE_, got {data['cmd']!r}: it is Node's own"
        )
