"""What a codec is: messages to bytes, bytes to messages, and no I/O.

A `Codec` is a description without state, so one may be shared by any number of channels. What is being received
is state: each channel asks its codec for a `Decoder` of its own.

Nothing imports this module at run time but who asks for these names: a child that only wants a channel pays for no
import of `typing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What holds bytes and can be sent without a copy."""

MessageT = TypeVar("MessageT")
MessageT_co = TypeVar("MessageT_co", covariant=True)


class Decoder(Protocol[MessageT_co]):
    """Bytes in, whole messages out."""

    @property
    def pending(self) -> int:
        """Bytes of a message that is not whole yet."""
        ...

    def feed(self, data: Buffer, /) -> Sequence[MessageT_co]:
        """Take the next bytes, in any chunking; return the messages that are whole now, in order.

        Raises ProtocolError on a violation; its `received` holds the messages before it. Then the decoder is done.
        Keeps no reference to `data`, so the caller may reuse its buffer.
        """
        ...

    def eof(self) -> Sequence[MessageT_co]:
        """Say that no more bytes come; return what that makes whole (a last line of text without its newline)."""
        ...


class Codec(Protocol[MessageT]):
    """Turns messages into bytes and makes decoders."""

    def encode(self, message: MessageT, /) -> bytes | Sequence[Buffer]:
        """Return the bytes of one message: in one piece, or in several to be written one after another.

        Raises EncodeError if the message would not arrive as it is.
        """
        ...

    def decoder(self, max_message: int, /) -> Decoder[MessageT]:
        """Make the receiving half for one channel. A message above `max_message` bytes is MessageTooLarge."""
        ...
