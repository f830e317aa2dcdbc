"""Two processes hold a conversation, and lose nothing that anyone listens for.

    open_child(command)     start a child and talk to it over a channel: events and requests
    open_stream(command)    start a program that speaks lines on its stdin and stdout
    open_parent()           the child's end of `open_child` (without an event loop: `worker_ipc.blocking`)

Names are imported when first used, so that a child which imports `worker_ipc.blocking` loads neither anyio nor asyncio.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._channel import Channel as Channel
    from ._channel import ChannelStatistics as ChannelStatistics
    from ._child import ChildChannel as ChildChannel
    from ._child import open_parent as open_parent
    from ._child_stream import ChildStream as ChildStream
    from ._child_stream import open_stream as open_stream
    from ._conversation import Conversation as Conversation
    from ._errors import ChannelClosed as ChannelClosed
    from ._errors import EncodeError as EncodeError
    from ._errors import MessageTooLarge as MessageTooLarge
    from ._errors import NoChannel as NoChannel
    from ._errors import Overrun as Overrun
    from ._errors import ProtocolError as ProtocolError
    from ._errors import RemoteError as RemoteError
    from ._errors import SpawnError as SpawnError
    from ._errors import WorkerIpcError as WorkerIpcError
    from ._errors import WouldBlock as WouldBlock
    from ._inbox import Receiver as Receiver
    from ._listeners import Listener as Listener
    from ._listeners import Wait as Wait
    from ._parent import ParentChannel as ParentChannel
    from ._parent import open_child as open_child
    from ._requests import PendingRequest as PendingRequest

_HOMES = {
    "Channel": "_channel",
    "ChannelClosed": "_errors",
    "ChannelStatistics": "_channel",
    "ChildChannel": "_child",
    "ChildStream": "_child_stream",
    "Conversation": "_conversation",
    "EncodeError": "_errors",
    "Listener": "_listeners",
    "MessageTooLarge": "_errors",
    "NoChannel": "_errors",
    "Overrun": "_errors",
    "ParentChannel": "_parent",
    "PendingRequest": "_requests",
    "ProtocolError": "_errors",
    "Receiver": "_inbox",
    "RemoteError": "_errors",
    "SpawnError": "_errors",
    "Wait": "_listeners",
    "WorkerIpcError": "_errors",
    "WouldBlock": "_errors",
    "open_child": "_parent",
    "open_parent": "_child",
    "open_stream": "_child_stream",
}

__all__ = [
    "Channel",
    "ChannelClosed",
    "ChannelStatistics",
    "ChildChannel",
    "ChildStream",
    "Conversation",
    "EncodeError",
    "Listener",
    "MessageTooLarge",
    "NoChannel",
    "Overrun",
    "ParentChannel",
    "PendingRequest",
    "ProtocolError",
    "Receiver",
    "RemoteError",
    "SpawnError",
    "Wait",
    "WorkerIpcError",
    "WouldBlock",
    "open_child",
    "open_parent",
    "open_stream",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
