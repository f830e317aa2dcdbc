"""What is fuzzed, and what has to hold whatever the bytes are. Imports no fuzzer, so that the seeds run as a test too.

The first byte of an input chooses the target, the second how the rest is cut into pieces. `Pickled` is no target: it
is for peers that trust each other, and runs what it is given.
"""

from __future__ import annotations

import socket
from typing import Any

from worker_ipc import ChannelClosed, EncodeError, ProtocolError
from worker_ipc.blocking import ChildChannel
from worker_ipc.codecs import Codec, ContentLength, JsonLines, TextLines

MAX_MESSAGE = 4096
CODECS: list[Codec[Any]] = [JsonLines(), JsonLines(interop="node"), TextLines(), ContentLength()]


def run(data: bytes) -> None:
    """Run one input. Raises AssertionError, or whatever escaped, if something did not hold."""
    if len(data) < 2:
        return
    choice, cut, rest = data[0] % (len(CODECS) + 1), data[1] + 1, data[2:]
    if choice < len(CODECS):
        codec = CODECS[choice]
        check_chunking(codec, rest, cut)
        check_round_trip(codec, rest)
    else:
        check_channel(rest)


def decode(codec: Codec[Any], pieces: list[bytes]) -> tuple[list[Any], bool]:
    """Return the messages in these pieces, and whether they end in a violation: the only error that may come."""
    decoder = codec.decoder(MAX_MESSAGE)
    messages: list[Any] = []
    try:
        for piece in pieces:
            messages += decoder.feed(piece)
        messages += decoder.eof()
    except ProtocolError as error:
        return [*messages, *error.received], True
    return messages, False


def check_chunking(codec: Codec[Any], data: bytes, cut: int) -> None:
    """Check that any chunking gives the same messages and the same end."""
    whole = decode(codec, [data])
    pieces = decode(codec, [data[start : start + cut] for start in range(0, len(data), cut)])
    assert whole == pieces, f"{codec}: {whole} in one piece, {pieces} in pieces of {cut}"


def check_round_trip(codec: Codec[Any], data: bytes) -> None:
    """Check that what arrived can be sent on as it is, or is refused at the call."""
    for message in decode(codec, [data])[0]:
        try:
            encoded = codec.encode(message)
        except EncodeError:
            continue
        again = codec.decoder(2 * MAX_MESSAGE).feed(encoded if isinstance(encoded, bytes) else b"".join(encoded))
        assert list(again) == [message], f"{codec}: {message!r} came back as {again!r}"


def check_channel(data: bytes) -> None:
    """Check that a channel that is sent these bytes answers, ends quietly or ends in a named error. It never hangs."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(5)
        ours.sendall(data[:MAX_MESSAGE])
        ours.shutdown(socket.SHUT_WR)
        try:
            with ChildChannel(theirs.detach(), JsonLines(), MAX_MESSAGE) as channel:
                channel.handle("echo", lambda *args, **kwargs: [args, kwargs])
                for _ in channel.listen():
                    pass
        except ChannelClosed:
            pass
