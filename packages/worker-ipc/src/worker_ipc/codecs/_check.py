"""What is no codec is refused before anything is started, or taken over, for it."""

from __future__ import annotations


def check_codec(codec: object) -> None:
    """Refuse what is no codec, a class of codecs included."""
    if isinstance(codec, type) or not (hasattr(codec, "encode") and hasattr(codec, "decoder")):
        raise TypeError(f"codec must be a codec, such as JsonLines(), got {codec!r}")
