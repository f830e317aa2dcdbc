"""Both directions of one conversation, with times, in a file a person can read.

    0.000132 > {"type":"request","data":"a-"}
    0.001518 < {"type":"response","data":"a-a-"}

A transcript is a codec around the real one, so it sees exactly what is on the wire, whatever the channel is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from worker_ipc import ProtocolError
from worker_ipc.codecs import Buffer, Codec, Decoder, JsonLines, TextLines

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

MessageT = TypeVar("MessageT")

_SHOWN = 4096  # bytes of one entry: a transcript is for reading, not for replay


class Transcript(Generic[MessageT]):
    """A codec that also writes down what passes. The file is appended to, so workers may share it."""

    def __init__(self, codec: Codec[MessageT], path: str | os.PathLike[str]) -> None:
        self._codec = codec
        self._path = path
        self._began = time.perf_counter()

    def encode(self, message: MessageT, /) -> bytes | Sequence[Buffer]:
        """Encode, and note what is sent."""
        return self.note_message(">", message)

    def decoder(self, max_message: int, /) -> Decoder[MessageT]:
        """Make a decoder that notes what is received."""
        return _Received(self._codec.decoder(max_message), self)

    def note_message(self, arrow: str, message: MessageT) -> bytes | Sequence[Buffer]:
        """Write down one message in its encoded form, which is returned."""
        data = self._codec.encode(message)
        self.note(arrow, data if isinstance(data, bytes) else b"".join(data))
        return data

    def note(self, arrow: str, data: bytes) -> None:
        """Write down raw bytes, cut to a readable length."""
        text = data[:_SHOWN].decode("utf-8", "backslashreplace").rstrip("\n")
        if len(data) > _SHOWN:
            text += f"… ({len(data)} bytes)"
        clock = time.perf_counter() - self._began
        with open(self._path, "a", encoding="utf-8") as file:
            file.writelines(f"{clock:.6f} {arrow} {line}\n" for line in text.split("\n"))


class _Received(Generic[MessageT]):
    """Notes whole messages, as the codec itself would write them; a violation is noted as it came."""

    def __init__(self, decoder: Decoder[MessageT], transcript: Transcript[MessageT]) -> None:
        self._decoder = decoder
        self._transcript = transcript

    @property
    def pending(self) -> int:
        return self._decoder.pending

    def feed(self, data: Buffer, /) -> Sequence[MessageT]:
        try:
            return self._noted(self._decoder.feed(data))
        except ProtocolError:
            self._transcript.note("!", bytes(data))
            raise

    def eof(self) -> Sequence[MessageT]:
        return self._noted(self._decoder.eof())

    def _noted(self, messages: Sequence[MessageT]) -> Sequence[MessageT]:
        for message in messages:
            self._transcript.note_message("<", message)
        return messages


def transcribed(is_channel: bool, codec: Codec[Any] | None, path: str | os.PathLike[str]) -> Transcript[Any]:
    """Put a transcript around `codec`, or around what a channel or a stream speaks by default."""
    if codec is None:
        codec = JsonLines() if is_channel else TextLines()
    return Transcript(codec, path)
