"""Both directions of one conversation, with times, in a file a person can read.

    0.000132 > {"type":"request","data":"a-"}
    0.001518 < {"type":"response","data":"a-a-"}

A transcript is a codec around the real one, so it sees what is on the wire, whatever the channel is: also what was
encoded and then not sent, because its neighbours could not be.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from worker_ipc import ProtocolError, open_child, open_stream
from worker_ipc.codecs import Buffer, Codec, Decoder, JsonLines, TextLines

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from io import FileIO
    from typing import Self

logger = logging.getLogger("worker_spawn")

MessageT = TypeVar("MessageT")

_SHOWN = 4096  # bytes of one entry: a transcript is for reading, not for replay


class Transcript(Generic[MessageT]):
    """A codec that also writes down what passes, while it is entered. The file is appended to: workers may share it."""

    def __init__(self, codec: Codec[MessageT], path: str | os.PathLike[str]) -> None:
        self._codec = codec
        self._path = path
        self._began = time.perf_counter()
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        """Open the file. Raises OSError, before there is a child whose conversation it would end."""
        self._file = open(self._path, "ab", buffering=0)  # each entry is one write, and so stays in one piece
        return self

    def __exit__(self, *_: object) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def encode(self, message: MessageT, /) -> bytes | Sequence[Buffer]:
        """Encode, and note what is sent."""
        data = self._codec.encode(message)
        self.note(">", _joined(data))
        return data

    def decoder(self, max_message: int, /) -> Decoder[MessageT]:
        """Make a decoder that notes what is received."""
        return _Received(self._codec.decoder(max_message), self)

    def note_received(self, message: MessageT) -> None:
        """Write down one message as the codec would write it, or else as Python shows it.

        What was received need not be what can be sent: half of a surrogate pair is not, and a codec of the user's may
        be of two halves. A transcript must not end a conversation that goes well without it.
        """
        try:
            data = _joined(self._codec.encode(message))
        except Exception:
            data = repr(message).encode("utf-8", "backslashreplace")
        self.note("<", data)

    def note(self, arrow: str, data: bytes) -> None:
        """Write down raw bytes, cut to a readable length. On a full disk the transcript ends, with a logged warning."""
        if self._file is None:  # after the end: what is encoded now is not sent any more
            return
        text = data[:_SHOWN].decode("utf-8", "backslashreplace").rstrip("\n")
        if len(data) > _SHOWN:
            text += f"… ({len(data)} bytes)"
        clock = time.perf_counter() - self._began
        try:
            self._file.write("".join(f"{clock:.6f} {arrow} {line}\n" for line in text.split("\n")).encode())
        except OSError as error:  # in the middle of a conversation, which goes well without it
            logger.warning("the transcript in %s ends here, the conversation goes on: %s", self._path, error)
            with suppress(OSError):  # the same once more, from a file system that writes late
                self.__exit__()


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
            self._transcript.note_received(message)
        return messages


def _joined(data: bytes | Sequence[Buffer]) -> bytes:
    return data if isinstance(data, bytes) else b"".join(data)


def transcribed(open: Any, codec: Codec[Any] | None, path: str | os.PathLike[str]) -> Transcript[Any]:
    """Put a transcript around `codec`, or around what `open` speaks by default."""
    while codec is None and isinstance(open, partial):
        codec, open = open.keywords.get("codec"), open.func
    if codec is None and open is open_child:
        codec = JsonLines()
    if codec is None and open is open_stream:
        codec = TextLines()
    if codec is None:
        raise ValueError(f"transcript needs a codec, as nobody knows what {open!r:.100} speaks by default")
    return Transcript(codec, path)
