"""The parent's requests, answered one at a time: the reply is written before the next message is looked at."""

from __future__ import annotations

from . import _rpc
from ._errors import ChannelClosed, EncodeError, Overrun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any

    from ._blocking_wire import Wire
    from ._rpc import Message
    from .codecs import Codec

_ASYNC = 0x80 | 0x200  # inspect.CO_COROUTINE, CO_ASYNC_GENERATOR: `inspect` alone would cost a tenth of our start
_MAX_HELD = 1000  # requests that wait for the first function; the bytes are bounded by what the parent may send ahead


class Answers:
    """Who answers which method. As long as it is `patient`, requests are held; after that, refused."""

    def __init__(self, wire: Wire, codec: Codec[Any]) -> None:
        self._wire = wire
        self._encode = codec.encode
        self.patient = True  # until a first function is registered, or `serve` waits for nothing but requests
        self._functions: dict[str, Callable[..., Any]] = {}
        self._held: list[Message] = []
        self._cancelled: set[Any] = set()  # ids of requests in the inbox that need not be started
        self.errors = 0

    def register(self, method: str, function: Callable[..., Any]) -> None:
        """Answer a method with a function. What was held comes next."""
        _rpc.check_method(method)
        _rpc.check_function(function)
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & _ASYNC:
            raise TypeError(f"{method!r}: an async function needs an event loop; use worker_ipc.open_parent instead")
        self._functions[method] = function
        self.release_held()

    def release_held(self) -> None:
        """Hold nothing any more. What was held comes next."""
        self.patient = False
        self._wire.inbox.extendleft(reversed(self._held))
        self._held.clear()
        self.look_ahead(self._wire.inbox)

    def request(self, message: Message) -> None:
        """Answer a request, or act on a notification. Raises ProtocolError, and ChannelClosed if the channel ended."""
        method, params, id = message["method"], message.get("params"), message.get("id")
        if id.__class__ is not int or params.__class__ is not list:  # the usual ones are right by that
            _rpc.check_request(message)
        function = self._functions.get(method) if method.__class__ is str else None
        if function is None or self._cancelled:
            if self._settle_otherwise(message, function):
                return
            assert function is not None
        try:
            value = function(*params) if isinstance(params, list) else _rpc.apply(function, params)
            if id is None and "id" not in message:
                return
            reply = self._encode({"jsonrpc": "2.0", "id": id, "result": value})
        except BaseException as error:  # also SystemExit: it is the answer to a request, not our end
            self._failed(message, error)
            return
        try:
            self._wire.write(reply)
        except ChannelClosed:
            self._unheard()

    def _settle_otherwise(self, message: Message, function: Callable[..., Any] | None) -> bool:
        """Deal with what is not simply called: cancelled, unknown, held. False: call it."""
        _rpc.check_request(message)
        method, id = message["method"], message.get("id")
        if method == _rpc.CANCEL:
            self._cancel_held(_id(message.get("params")))
            return True  # for all others it is too late by now: `look_ahead` found those that were in time
        if id in self._cancelled:
            self._cancelled.discard(id)
            self._not_started(id)
            return True
        if function is not None:
            return False
        if self.patient and len(self._held) < _MAX_HELD:
            if not self._held:
                _remind(method)
            self._held.append(message)
        elif "id" in message:
            self.reply(_rpc.error(id, _rpc.METHOD_NOT_FOUND, f"no function answers {method!r} here"))
        return True

    def _cancel_held(self, id: int | str | None) -> None:
        for index, message in enumerate(self._held):
            if id is not None and _id(message) == id:
                del self._held[index]
                self._not_started(id)
                return

    def _not_started(self, id: Any) -> None:
        self.reply(_rpc.error(id, _rpc.CANCELLED, "the request was cancelled before it was started"))

    def _failed(self, message: Message, error: BaseException) -> None:
        self.errors += 1
        if error.__traceback__ is not None:  # without our own frame: the report begins with the user's function
            error = error.with_traceback(error.__traceback__.tb_next)
        if "id" not in message:
            import traceback

            traceback.print_exception(error)
            return
        try:
            self.reply(_rpc.failure(message["id"], error))
        except EncodeError as unsendable:  # a RemoteError with data that can't be sent
            self.reply(_rpc.error(message["id"], _rpc.INTERNAL_ERROR, str(unsendable)))

    def reply(self, reply: Message) -> None:
        """Write an answer. Raises ChannelClosed if the channel has ended, but not because the parent left."""
        data = self._encode(reply)
        try:
            self._wire.write(data)
        except ChannelClosed:
            self._unheard()

    def _unheard(self) -> None:
        """The parent will not hear the answer. What it had sent before it left is still received."""
        wire = self._wire
        if wire.end is not None and (wire.fd < 0 or not wire.parent_left or isinstance(wire.end, Overrun)):
            raise wire.end.with_traceback(None) from None

    def look_ahead(self, inbox: deque[Any]) -> None:
        """Remember which requests in the inbox are cancelled further back in it."""
        try:
            rest = [message for message in inbox if "id" not in message]  # what is no request: a cheap look, for all
        except TypeError:  # a message that is no object, which will be refused when its turn comes
            return
        if not any(message.__class__ is dict and message.get("method") == _rpc.CANCEL for message in rest):
            return
        waiting: set[object] = set()
        for message in inbox:
            if message.__class__ is not dict or "method" not in message:
                continue
            if message["method"] != _rpc.CANCEL:
                waiting.add(_id(message))
            elif (id := _id(message.get("params"))) is not None and id in waiting:
                self._cancelled.add(id)


def _remind(method: str) -> None:
    """Tell of a request that may wait for ever: nobody else would."""
    import logging

    logging.getLogger("worker_ipc").warning(
        "a request for %r waits: this process listens, and has given no function to `handle`", method
    )


def _id(holder: Any) -> int | str | None:
    """The id in a request, or in the params of a cancellation, if it can be one of ours."""
    id = holder.get("id") if holder.__class__ is dict else None
    return id if id.__class__ in (int, str) else None
