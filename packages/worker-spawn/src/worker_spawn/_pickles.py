"""How pickles travel between a function child and its parent: each input, and each reply, in a frame of its own.

What one pickle holds, it holds as one: an object that two of its parts share is one object again where it is loaded,
and if a part can't be loaded, none is. Inputs that were pickled together would feel which others had happened to be
ready with them.
"""

from __future__ import annotations

from worker_ipc import ProtocolError
from worker_ipc.codecs import Pickled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from worker_ipc.codecs import Buffer


class Unloadable:
    """Stands for a reply whose pickle can't be loaded here: `error` says why."""

    __slots__ = ("error",)

    def __init__(self, error: ProtocolError) -> None:
        self.error = error


class ParentPickles(Pickled):
    """The parent's: lists of inputs out, replies in."""

    def encode(self, inputs: Sequence[Any], /) -> Any:
        """Return the frames of all `inputs`, for one write. Raises EncodeError if one of them cannot be pickled."""
        encode = super().encode
        pieces = [piece for input in inputs for piece in encode(input)]
        if len(pieces) == len(inputs):  # a small frame is one piece: copying those is cheaper than a vector of them
            return b"".join(pieces)
        return pieces

    def load(self, body: memoryview, buffers: Sequence[memoryview], /) -> Any:
        """Return a reply, or what stands for it."""
        try:
            return super().load(body, buffers)
        except ProtocolError as error:
            return Unloadable(error)


class ChildPickles(Pickled):
    """The child's: inputs in, replies out."""

    def encode(self, reply: Any, /) -> Any:
        """Return the frame of one reply: as bytes, which the journal can hold, if it is small."""
        pieces: list[Buffer] = super().encode(reply)
        return pieces[0] if len(pieces) == 1 else pieces

    def load(self, body: memoryview, buffers: Sequence[memoryview], /) -> Any:
        """Leave an input as it is: loading runs its objects' own code, so that is a part of its execution."""
        return body, buffers

    def loading(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return what loads an input and gives it to `function`."""
        load = super().load
        return lambda frame: function(load(*frame))
