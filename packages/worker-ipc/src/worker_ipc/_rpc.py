"""JSON-RPC 2.0 on the same wire as events: ids and their pending replies, and the objects that are sent.

Synchronous: no I/O, no event loop. An object with a ``jsonrpc`` member is a request (a `method` and an `id`), a
notification (a `method` alone) or a reply (`result` or `error`); every other object is an event.

    https://www.jsonrpc.org/specification        the objects, and the codes from -32700 to -32600
    Language Server Protocol, "Cancellation"     `$/cancelRequest`, and -32800 as its answer

`worker_ipc.blocking` uses this module too, so what is only needed for failures is imported when one happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._errors import ChannelClosed, ProtocolError, RemoteError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeAlias

    Message: TypeAlias = dict[str, Any]
    Params: TypeAlias = Sequence[Any] | Mapping[str, Any] | None
    Reply: TypeAlias = Message | ChannelClosed
    """What ends a request: the peer's reply as it came, or the end of the channel."""
    Answer: TypeAlias = tuple[int, Any, RemoteError | ChannelClosed | None]
    """The same of one request of many: its index, its result, and its error."""

    class Waiter(Protocol):
        """Who is given the reply; the whole of it is in `_readiness`."""

        def done(self) -> bool: ...
        def set_result(self, reply: Reply, /) -> None: ...


METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603
CANCELLED = -32800
FAILED = -32000
"""The function raised: the first code that the specification leaves to implementations."""

CANCEL = "$/cancelRequest"

_MAX_TEXT = 64 * 1024  # characters of an error message or a traceback: a report, not a payload


class Calls:
    """Our own requests: each id has one waiter, which is settled exactly once: by its reply or by the end."""

    __slots__ = ("_last", "answered", "late", "pending")

    def __init__(self) -> None:
        self._last = 0
        self.pending: dict[int, Waiter | Group] = {}
        self.answered: dict[Group, None] = {}  # those that `report` will tell of the replies since the last time
        self.late: int = 0  # replies to nobody: unknown ids, doubled replies, answers after a cancellation

    def open(self, waiter: Waiter) -> int:
        """Return a new id, whose reply will be given to `waiter`."""
        id = self.next_id()
        self.pending[id] = waiter
        return id

    def next_id(self, count: int = 1) -> int:
        """Return the first of `count` ids that were never used. Who writes the request puts its waiter in `pending`."""
        id = self._last + 1
        self._last += count
        return id

    def settle(self, reply: Message) -> None:
        """Give a reply to the request it belongs to. One that belongs to nobody is counted."""
        id: Any = reply.get("id")
        waiter = self.pending.pop(id, None) if id.__class__ is int else None  # True == 1: not here
        if isinstance(waiter, Group):
            self.answered[waiter] = None
            if "error" in reply:
                waiter.answers.append((id - waiter.first, *settlement(reply)))
            else:
                waiter.answers.append((id - waiter.first, reply["result"], None))
        elif waiter is None or waiter.done():
            self.late += 1
        else:
            waiter.set_result(reply)

    def abandon(self, id: int) -> bool:
        """Forget a request: its reply will be late. False: it was settled already."""
        return self.pending.pop(id, None) is not None

    def end(self, error: ChannelClosed) -> None:
        """Settle every request with the end of the channel."""
        pending, self.pending = self.pending, {}
        for id, waiter in pending.items():
            if isinstance(waiter, Group):
                self.answered[waiter] = None
                waiter.answers.append((id - waiter.first, None, error))
            elif not waiter.done():
                waiter.set_result(error)
        self.report()

    def report(self) -> None:
        """Give every group what came for it since the last time."""
        while self.answered:
            *others, last = self.answered
            self.answered = {}
            for group in others:
                group.report(True)
            last.report(False)


class Group:
    """Many requests with one `settle`, which is told once of all answers that came together."""

    __slots__ = ("answers", "first", "settle")

    def __init__(self, first: int, settle: Callable[[list[Answer], bool], object]) -> None:
        self.first: int = first  # the id of the first of them
        self.settle = settle
        self.answers: list[Answer] = []  # that it was not told of yet

    def report(self, more: bool) -> None:
        """Tell of what came."""
        answers, self.answers = self.answers, []
        try:
            self.settle(answers, more)
        except Exception:
            import logging

            logging.getLogger("worker_ipc").exception("the settle function of requests raised")


def request(id: int, method: str, params: Params) -> Message:
    """Build a request."""
    check_method(method)
    if params is None:
        return {"jsonrpc": "2.0", "id": id, "method": method}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": plain_params(params)}


def notification(method: str, params: Params) -> Message:
    """Build a request without an answer."""
    check_method(method)
    if params is None:
        return {"jsonrpc": "2.0", "method": method}
    return {"jsonrpc": "2.0", "method": method, "params": plain_params(params)}


def check_method(method: object) -> None:
    """Raise TypeError for what is no name: a peer could only take it as a broken request, and hang up."""
    if not isinstance(method, str):
        raise TypeError(f"the name of a method must be str, got {method!r:.100}")


def check_function(function: object) -> None:
    """Raise TypeError for what can't be called, now and not when a message comes."""
    if not callable(function):
        raise TypeError(f"a function is needed that can be called, got {function!r:.100}")


def plain_params(params: Params) -> list[Any] | tuple[Any, ...] | dict[str, Any]:
    """Return params as a peer takes them. TypeError for what it could only take as a broken request, and hang up."""
    if params.__class__ in CONTAINERS:
        return params  # pyright: ignore[reportReturnType]
    if isinstance(params, Mapping):
        return dict(params)
    if isinstance(params, Sequence) and not isinstance(params, (str, bytes, bytearray, memoryview)):
        return list(params)
    raise TypeError(
        f"params must be a sequence of positional or a mapping of keyword arguments, got {params!r:.100}; "
        "of one argument make a list"
    )


CONTAINERS = (list, tuple, dict)
"""What params nearly always are: whoever builds many requests looks here before it asks `plain_params`."""


def result(id: object, value: object) -> Message:
    """Build the reply of a function that returned."""
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id: object, code: int, message: str, data: object = None) -> Message:
    """Build the reply of a function that did not return."""
    body: Message = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return {"jsonrpc": "2.0", "id": id, "error": body}


def failure(id: object, raised: BaseException) -> Message:
    """Build the reply of a function that raised. A `RemoteError` passes through as it is; the rest becomes text."""
    if isinstance(raised, RemoteError):
        code: Any = raised.code
        message: Any = raised.message
        if isinstance(code, int) and isinstance(message, str):  # else it would be no reply, and the peer hang up
            return error(id, int(code), str.__str__(message), raised.data)  # of an enum, the plain value
    import traceback

    kind = type(raised)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        text = str(raised)
    except Exception as nested:  # an exception whose own text fails
        text = f"<no text: str() raised {type(nested).__name__}>"
    try:
        trace = "".join(traceback.format_exception(raised))
    except Exception:
        trace = ""
    return error(id, FAILED, _clean(text) or name, {"type": name, "traceback": _clean(trace, keep_end=True)})


def _clean(text: str, *, keep_end: bool = False) -> str:
    """Make text fit to be sent: of bounded length, and without the lone surrogates of odd file names."""
    if len(text) > _MAX_TEXT:
        text = f"[...] {text[-_MAX_TEXT:]}" if keep_end else f"{text[:_MAX_TEXT]} [...]"
    return text.encode("utf-8", "backslashreplace").decode()


def check_reply(reply: Message) -> None:
    """Raise ProtocolError if an object without a method is not a reply either."""
    body = reply.get("error")
    if body is None:
        if "result" in reply:
            return
    elif body.__class__ is dict and body.get("code").__class__ is int and body.get("message").__class__ is str:
        return
    raise ProtocolError(f"neither a request nor a reply of JSON-RPC 2.0: {_excerpt(reply)}")


def check_request(message: Message) -> None:
    """Raise ProtocolError if an object with a method is not a request of JSON-RPC 2.0."""
    kinds = message["method"].__class__, message.get("params").__class__, message.get("id").__class__
    if kinds[0] is str and kinds[1] in _PARAMS and kinds[2] in _IDS:
        return
    raise ProtocolError(f"not a request of JSON-RPC 2.0: {_excerpt(message)}")


_PARAMS = (list, tuple, dict, type(None))  # a tuple is one over Pickled
_IDS = (int, str, type(None), float)


def settlement(reply: Reply) -> tuple[Any, RemoteError | ChannelClosed | None]:
    """Return what ended a request as a settle function is told it: a result and None, or None and an error."""
    if isinstance(reply, ChannelClosed):
        return None, reply
    body = reply.get("error")
    if body is None:
        return reply["result"], None
    return None, remote_error(body)


def outcome(reply: Message) -> Any:
    """Return the result of a reply, or raise the RemoteError it carries."""
    body = reply.get("error")
    if body is None:
        return reply["result"]
    raise remote_error(body)


def remote_error(body: Message) -> RemoteError:
    """Turn the error object of a reply into an exception. Its text stays text; its traceback is shown with ours."""
    data = body.get("data")
    raised = RemoteError(body["code"], body["message"], data)
    match data:
        case {"traceback": str(trace)} if trace:
            raised.add_note(printable(_clean(trace.rstrip(), keep_end=True)))
        case _:
            pass
    return raised


def apply(function: Callable[..., Any], params: Params) -> Any:
    """Call a function with the params of a request: a sequence is positional, a mapping are keyword arguments."""
    if params is None:
        return function()
    if isinstance(params, dict):
        keywords: dict[str, Any] = params
        return function(**keywords)
    return function(*params)


def _excerpt(message: object) -> str:
    try:
        text = repr(message)
    except RecursionError:  # what may be received is nested deeper than Python can show
        text = f"{type(message).__name__}, nested deeply"
    return text if len(text) <= 200 else text[:200] + " [...]"
