"""Values as JSON: what comes back is equal to what went in, or it never goes in."""

from __future__ import annotations

import json
from typing import Any

from ._errors import EncodeError

# Whatever of these can be encoded comes back equal, so it need not be decoded to compare: half the time for texts.
PLAIN = frozenset({str, bool, type(None)})

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dumps(value: object) -> bytes:
    """Encode a value. The rule is `loads(dumps(value)) == value`; what would break it raises `EncodeError`.

    So a tuple (it would come back as a list), a mapping whose keys are not text, NaN and the infinities are refused,
    like everything that has no JSON at all.
    """
    try:
        text = _encoder.encode(value)
        body = text.encode()
        back = value if type(value) in PLAIN else json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"not JSON: {error}") from error
    if back != value:
        raise EncodeError(f"would come back as something else: {value!r:.200}")
    return body


def loads(body: bytes) -> Any:  # what was put, of the type that the caller says it has
    """Decode what `dumps` has encoded."""
    return json.loads(body)
