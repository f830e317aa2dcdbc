"""JSON values that arrive as they were sent, or an error: the rules, and the only use of orjson.

orjson is fast because it is lenient in a few silent ways: it writes NaN as ``null`` and reads an integer above 64 bits
as a rounded float. Here each of these is closed at the lowest price that is still exact: the encoded or received
*bytes* are searched for the one trace such a value must leave there (``null``; a run of 19 digits), which costs a few
ten nanoseconds, and only a message that has the trace is looked at value by value. (So is a large one of few values: a
megabyte of text takes longer to search than to parse.)

The rules in words are in docs/wire.md, "Values".
"""

from __future__ import annotations

from math import isfinite

import orjson

from .._errors import EncodeError, ProtocolError
from .._heap import LARGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Literal, TypeAlias

    Interop: TypeAlias = Literal["node"] | None

# Left to itself, orjson turns a dataclass into a dict, a datetime into text and a subclass into its base: something
# else than what was sent would arrive.
_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS

# Every digit becomes "0", so that a run of digits can be found by a plain search.
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
_TWENTY = b"0" * 20  # 2**64 has 20 digits; 19 always fit
_MINUS_NINETEEN = b"-" + b"0" * 19  # -2**63 - 1 has 19

_FEW = 200  # values: looking at them takes as long as searching 64 KiB

_dumps = orjson.dumps
_loads = orjson.loads
_kind: Callable[[object], object] = type  # without type parameters, which nothing is known about


def encoder(interop: Interop, *, newline: bool) -> Callable[[object], bytes]:
    """Make the function that turns a message into JSON bytes, or raises EncodeError naming the value at fault."""
    if interop not in (None, "node"):
        raise ValueError(f"interop must be None or 'node', got {interop!r}")
    options = _STRICT
    if interop == "node":
        options |= orjson.OPT_STRICT_INTEGER  # 53 bits: JavaScript would round the rest
    if newline:
        options |= orjson.OPT_APPEND_NEWLINE

    def encode(message: object) -> bytes:
        try:
            encoded = _dumps(message, None, options)
        except TypeError as error:  # orjson.JSONEncodeError
            raise _refusal(message, interop, str(error)) from None
        if len(encoded) < LARGE or not _has_few_values(message):
            nulls = encoded.count(b"null")
            if not nulls or _only_none(message, nulls):
                return encoded
        if has_nonfinite(message):
            raise _refusal(message, interop, "a float is not finite")
        return encoded

    return encode


def decode(document: bytes | bytearray) -> Any:
    """Turn the bytes of one JSON document into its value, or raise ProtocolError."""
    try:
        value = _loads(document)
    except ValueError as error:
        return _decode_slowly(document, str(error))
    if has_long_number(document) and _has_rounded(value):
        return _decode_slowly(document, "an integer that is not exact in 64 bits")
    return value


def decode_line(line: bytes) -> Any:
    """Turn one line into its value. ValueError if that needs `decode`, and its care."""
    value = _loads(line)
    has_few = len(line) >= LARGE and _has_few_values(value)
    if (has_few or has_long_number(line)) and _has_rounded(value):
        raise ValueError("an integer is not exact")
    return value


def decode_lines(block: bytes) -> list[Any]:
    """Turn many lines into their values. ValueError if one of them needs `decode`, and its care."""
    if has_long_number(block):
        raise ValueError("an integer may not be exact")
    documents = block.split(b"\n")
    documents.pop()  # what follows the last newline: nothing
    return list(map(_loads, documents))


def has_long_number(text: bytes | bytearray) -> bool:
    """Whether `text` may hold an integer beyond 64 bits: 20 digits in a row, or a minus sign and 19.

    Of 18 digits in a row, three fall on positions that are a multiple of six, so a sixth of the bytes rules most
    texts out. (A digit string in quotes is a false alarm, and only costs time.)
    """
    if text[::6].translate(_DIGITS).find(b"000") < 0:
        return False
    digits = text.translate(_DIGITS)
    return digits.find(_TWENTY) >= 0 or digits.find(_MINUS_NINETEEN) >= 0


def has_nonfinite(value: Any) -> bool:
    """Whether a NaN or an infinity is anywhere in a value that orjson has encoded."""
    return not all(map(isfinite, _floats(value)))


def _floats(value: Any) -> list[float]:
    """All floats in a value. Without recursion: what is received may be nested deeper than Python's calls."""
    found: list[float] = []
    waiting: list[Iterable[Any]] = [_contents(value) or (value,)]
    while waiting:
        items = waiting.pop()
        kinds = set(map(_kind, items))
        if float in kinds:
            found += [item for item in items if _kind(item) is float]
        if not kinds <= _SCALARS:
            waiting += filter(None, map(_contents, [item for item in items if _kind(item) not in _SCALARS]))
    return found


_SCALARS: set[object] = {str, int, float, bool, type(None)}


def _only_none(message: Any, nulls: int) -> bool:
    """Whether the message's own values already explain every ``null``, as in a reply without a result."""
    return _kind(message) is dict and list(message.values()).count(None) == nulls


def _has_few_values(value: Any) -> bool:
    """Whether a value is mostly text: then to look at each of its parts is cheaper than to search a large document."""
    left, waiting = _FEW, [value]
    while waiting:
        items = _contents(waiting.pop())
        if items is not None:
            before = len(waiting)
            waiting += items
            left -= len(waiting) - before
            if left < 0:
                return False
    return True


def _contents(value: Any) -> Iterable[Any] | None:
    """What a container contains; None for anything else."""
    kind = _kind(value)
    items: Iterable[Any]
    if kind is dict:
        items = value.values()
        return items
    if kind is list or kind is tuple:
        items = value
        return items
    if hasattr(kind, "__members__"):  # an enum, which orjson sends as its value
        return (value.value,)
    return None


def _has_rounded(value: Any) -> bool:
    """Whether a float so large is in a decoded value that an integer may have been rounded to it."""
    floats = _floats(value)
    return bool(floats) and (min(floats) <= -(2.0**63) or max(floats) >= 2.0**64)


def _refusal(message: object, interop: Interop, reason: str) -> EncodeError:
    from ._json_faults import fault  # only who makes a mistake pays for its explanation

    return EncodeError(fault(message, interop) or f"this message cannot be sent as JSON: {reason}")


def _decode_slowly(document: bytes | bytearray, reason: str) -> Any:
    """Read what orjson refuses although a peer may legally send it; refuse the rest, with the reason."""
    if document.lower().find(b"\\ud") < 0 and not reason.startswith("an integer"):
        raise ProtocolError(f"not JSON: {reason}: {_excerpt(document)}")
    from ._json_faults import parse

    try:
        return parse(document)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not a JSON value we can take: {error}: {_excerpt(document)}") from None


def _excerpt(document: bytes | bytearray) -> str:
    shown = bytes(document[:80])
    return f"{shown!r}{'...' if len(document) > len(shown) else ''}"
