"""The slow half of `_json`: explain a refused message, and read the few documents that orjson does not.

Nothing here runs while all is well, and nothing here is imported before it is needed.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_kind: Callable[[object], object] = type
_DEEPEST = 254  # orjson.dumps refuses what is nested deeper, some versions one level later
_DEEPEST_READ = 1024  # so does orjson.loads
_PLAIN = (str, int, float, bool, type(None), dict, list, tuple)


def fault(message: object, interop: str | None) -> str | None:
    """Say which value of `message` cannot be sent, where it is and why; None if there is none to be found."""
    exact = 2**53 - 1 if interop == "node" else 2**64 - 1
    lowest = -exact if interop == "node" else -(2**63)
    stack: list[tuple[str, Any, int]] = [("message", message, 1)]
    while stack:
        where, value, depth = stack.pop()
        problem = _too_deep(value, depth) or _problem(value, lowest, exact)
        if problem:
            return f"{_shorten(where)} {problem}"
        stack.extend(reversed([(where + step, item, depth + 1) for step, item in _steps(value)]))
    return None


def parse(document: bytes | bytearray) -> object:
    """Read one JSON document with the standard library, which takes lone surrogate escapes; ValueError if it is not.

    Its own leniencies (NaN, infinities by overflow, from Python 3.12 on deeper nesting) are closed, and integers are
    held to 64 bits.
    """
    value: object = json.loads(
        str(document, "utf-8"), parse_int=_exact_int, parse_float=_finite_float, parse_constant=_no_constant
    )
    level = [value]
    for _ in range(_DEEPEST_READ):
        level = [item for value in level for _, item in _steps(value)]
    if any(isinstance(item, (dict, list)) for item in level):
        raise ValueError(f"nested deeper than {_DEEPEST_READ} levels")
    return value


def _problem(value: Any, lowest: int, highest: int) -> str | None:
    kind = _kind(value)
    if kind is float and value - value != 0:
        return f"is {value!r}, which JSON does not have: send None, or a text that both sides agree on"
    if kind is int and not lowest <= value <= highest:
        return f"is an integer outside {lowest}..{highest}, which would not arrive exactly: send it as text"
    if kind is str and not _is_unicode(value):
        return "has a lone surrogate, which is no Unicode text: send os.fsencode(...) of a file name as hex or base64"
    if kind is dict:
        return _bad_key(value)
    if kind in _PLAIN or hasattr(kind, "__members__") or type(value).__name__ == "UUID":
        return None
    return f"is of type {type(value).__qualname__}, which would not arrive as such: {_advice(value)}"


def _bad_key(value: Any) -> str | None:
    for key in value:
        if type(key) is not str:
            return f"has the key {_show(key)}: keys must be str"
        if not _is_unicode(key):
            return f"has the key {_show(key)}, which has a lone surrogate and is no Unicode text"
    return None


def _advice(value: object) -> str:
    pickled = "or use the codec Pickled() between Python processes"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"encode it as text (base64, hex), {pickled}"
    for base in (dict, list, tuple, str, int, float):
        if isinstance(value, base):
            return f"convert it with {base.__name__}(...)"
    return f"convert it to str, int, float, bool, None, list or dict, {pickled}"


def _too_deep(value: object, depth: int) -> str | None:
    if depth > _DEEPEST and type(value) in (dict, list, tuple):
        return f"is nested deeper than {_DEEPEST} levels (or contains itself)"
    return None


def _steps(value: Any) -> Iterator[tuple[str, Any]]:
    kind = _kind(value)
    if kind is dict:
        for key, item in value.items():
            yield f"[{_show(key)}]", item
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif hasattr(kind, "__members__"):
        yield ".value", value.value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _show(key: object) -> str:
    text = ascii(key) if isinstance(key, str) else repr(key)
    return text if len(text) <= 40 else text[:37] + "..."


def _shorten(where: str) -> str:
    return where if len(where) <= 200 else f"{where[:100]}...{where[-97:]}"


def _exact_int(digits: str) -> int:
    # At most 20 characters are worth converting: what is longer does not fit, and would cost quadratic time.
    if len(digits) <= 20 and -(2**63) <= (value := int(digits)) < 2**64:
        return value
    raise ValueError(f"an integer of {len(digits)} digits does not fit in 64 bits")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if value - value != 0:
        raise ValueError("a number too large for a float")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
