"""The peer's requests: who answers which method, and what runs right now.

A function that returns at once is called straight from the read callback, and its reply is on the wire before the
next message is looked at; one that returns an awaitable gets a task of its own, so many may run at once.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from anyio import CancelScope, get_cancelled_exc_class, sleep

from . import _rpc
from ._errors import EncodeError, ProtocolError
from ._foreign import is_foreign

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from ._rpc import Message
    from ._stream import MessageStream

logger = logging.getLogger("worker_ipc")

REMINDER = 5.0
"""Seconds after which a child that holds requests, and has no function yet, is said to do so."""

_WAS_CANCELLED = "the request was cancelled"


class Answers:
    """`patient`: until the first function is registered, requests are held (up to `limit`), not refused.

    A child is patient: it may have to load something before it can say what it answers. A parent is not: a language
    server that asks its client something waits for the refusal.
    """

    def __init__(self, stream: MessageStream[Any], group: TaskGroup, *, patient: bool, limit: int) -> None:
        self._stream = stream
        self._group = group
        self._patient = patient
        self._limit = limit
        self._held: list[tuple[Message, int]] = []
        self._functions: dict[str, Callable[..., Any]] = {}
        self._newest: WeakValueDictionary[str, Registration] = WeakValueDictionary()  # while it can be removed
        self._running: dict[object, CancelScope] = {}
        self.errors: int = 0  # functions and notification handlers that raised
        self.unknown: int = 0  # notifications that nobody handles
        self.bytes: int = 0  # of the requests that are being answered or held

    @property
    def running(self) -> int:
        """How many are being answered right now."""
        return len(self._running)

    def register(self, method: str, function: Callable[..., Any]) -> Registration:
        """Answer a method with a function; return what removes it."""
        _rpc.check_method(method)
        _rpc.check_function(function)
        registration = Registration(self, method, function)
        self._patient = False
        return registration

    def newest(self, method: str) -> Registration | Callable[..., Any] | None:
        """Return who answers: a function alone if nobody can remove it any more."""
        return self._newest.get(method) or self._functions.get(method)

    def let_answer(self, method: str, who: Registration | Callable[..., Any] | None) -> None:
        """Let another answer from now on; None: nobody."""
        self._newest.pop(method, None)
        self._functions.pop(method, None)
        if isinstance(who, Registration):
            self._newest[method] = who
            self._functions[method] = who.function
        elif who is not None:
            self._functions[method] = who

    def release_held(self) -> None:
        """Answer what was held."""
        held, self._held = self._held, []
        for message, size in held:
            self.bytes -= size
            self.request(message, size)

    @property
    def holds(self) -> bool:
        """Tell whether requests are held."""
        return bool(self._held)

    def request(self, message: Message, size: int) -> None:
        """Take a request or notification from the wire. Never raises but ProtocolError."""
        _rpc.check_request(message)
        method: str = message["method"]
        if method == _rpc.CANCEL:
            self._cancel(message.get("params"))
            return
        function = self._functions.get(method)
        if self._held and not self._patient:  # those will be answered in the next tick: nobody overtakes them
            self._hold(message, size)
        elif function is not None:
            self._call(function, message, size)
        elif self._patient and len(self._held) < self._limit:
            if not self._held:
                self._group.start_soon(self._remind, name="worker_ipc reminder")
            self._hold(message, size)
        elif "id" in message:
            self._refuse(message["id"], _rpc.METHOD_NOT_FOUND, f"no function answers {method!r} here")
        else:
            self.unknown += 1

    def _hold(self, message: Message, size: int) -> None:
        self._held.append((message, size))
        self.bytes += size

    async def _remind(self) -> None:
        """Tell of requests that may wait for ever: nobody else would."""
        await sleep(REMINDER)
        if self._patient and self._held:
            method = self._held[0][0]["method"]
            logger.warning("a request for %r waits for %g s: no function was given to `handle`", method, REMINDER)

    def _call(self, function: Callable[..., Any], message: Message, size: int) -> None:
        try:
            value = _rpc.apply(function, message.get("params"))
        except BaseException as error:  # also SystemExit: it is the answer to a request, not our end
            self._failed(message, error)
            return
        if inspect.isawaitable(value):
            scope = CancelScope()
            if "id" in message:  # now, not when the task starts: its cancellation may be the next message
                self._running[message["id"]] = scope
            self.bytes += size
            name = f"worker_ipc answer {message['method']}"
            self._group.start_soon(self._await, value, message, size, scope, name=name)
        elif "id" in message:
            self._succeeded(message, value)

    async def _await(self, awaitable: Awaitable[Any], message: Message, size: int, scope: CancelScope) -> None:
        id = message.get("id")
        try:
            with scope:
                value = await awaitable
                if "id" in message:
                    self._succeeded(message, value)
            if scope.cancelled_caught and "id" in message:
                self._refuse(id, _rpc.CANCELLED, _WAS_CANCELLED)
        except BaseException as error:  # also SystemExit, as above
            if isinstance(error, get_cancelled_exc_class()) and not is_foreign(error):
                raise
            self._failed(message, error)
        finally:
            self.bytes -= size
            if self._running.get(id) is scope:
                del self._running[id]

    def _cancel(self, params: Any) -> None:
        id: Any = params.get("id") if params.__class__ is dict else None
        try:
            scope = self._running.get(id)
        except TypeError:  # an unhashable id is nobody's
            return
        if scope is not None:
            scope.cancel()
            return
        for index, (message, size) in enumerate(self._held):
            if message.get("id") == id and "id" in message:
                del self._held[index]
                self.bytes -= size
                self._refuse(id, _rpc.CANCELLED, _WAS_CANCELLED)
                return

    def _succeeded(self, message: Message, value: Any) -> None:
        try:
            self._reply(_rpc.result(message["id"], value))
        except EncodeError as error:
            self._failed(message, error)

    def _failed(self, message: Message, error: BaseException) -> None:
        self.errors += 1
        if "id" not in message:
            logger.error("the handler of notification %r failed", message["method"], exc_info=error)
            return
        try:
            self._reply(_rpc.failure(message["id"], error))
        except EncodeError as unsendable:  # a RemoteError with data that can't be sent
            self._refuse(message["id"], _rpc.INTERNAL_ERROR, str(unsendable))

    def _refuse(self, id: object, code: int, text: str) -> None:
        try:
            self._reply(_rpc.error(id, code, text))
        except EncodeError as error:  # nothing but the id is the peer's own
            self._stream.ended(ProtocolError(f"the id of a request must be one that can be sent back: {error}"))

    def _reply(self, reply: Message) -> None:
        self._stream.post(reply, now=True)


class Registration:
    """One function for one method; call it to remove that. Then whoever answered before, and is still there, does."""

    __slots__ = ("__weakref__", "_answers", "_before", "_method", "_removed", "function")

    def __init__(self, answers: Answers, method: str, function: Callable[..., Any]) -> None:
        self.function: Callable[..., Any] = function
        self._answers = answers
        self._method = method
        self._removed = False
        self._before = answers.newest(method)
        answers.let_answer(method, self)

    def __call__(self) -> None:
        """Remove it. Idempotent."""
        self._removed = True
        if self._answers.newest(self._method) is self:
            left: Registration | Callable[..., Any] | None = self
            while isinstance(left, Registration) and left._removed:
                left = left._before
            self._answers.let_answer(self._method, left)
            return
        newer = self._answers.newest(self._method)
        while isinstance(newer, Registration) and newer._before is not self:
            newer = newer._before
        if isinstance(newer, Registration):  # nobody is to hold what will never answer again
            newer._before = self._before
