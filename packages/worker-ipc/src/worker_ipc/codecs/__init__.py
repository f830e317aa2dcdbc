"""Codecs: how messages become bytes and bytes become messages. No I/O, no event loop.

    JsonLines()       JSON values, one per line: the default, and Node's wire
    TextLines()       text, one line per message: `bc`, `exiftool -stay_open`, a chess engine
    ContentLength()   JSON behind a Content-Length header: a language server, a debug adapter
    Pickled()         any Python object, arrays without copies: between Python processes that trust each other

A codec is a value without state, so one may be shared by every channel of a pool. Write your own by giving it the two
methods of `Codec`. Each is imported when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._codec import Buffer as Buffer
    from ._codec import Codec as Codec
    from ._codec import Decoder as Decoder
    from ._content_length import ContentLength as ContentLength
    from ._json_lines import JsonLines as JsonLines
    from ._pickled import Pickled as Pickled
    from ._text_lines import TextLines as TextLines

__all__ = ["Buffer", "Codec", "ContentLength", "Decoder", "JsonLines", "Pickled", "TextLines"]

_HOMES = {
    "Buffer": "_codec",
    "Codec": "_codec",
    "ContentLength": "_content_length",
    "Decoder": "_codec",
    "JsonLines": "_json_lines",
    "Pickled": "_pickled",
    "TextLines": "_text_lines",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
