"""Lists of inputs that a function child has, and what counts as its answer to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from worker_pool import NotStarted

from ._pickles import Unloadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker_pool import Settle

InputT = TypeVar("InputT")

_ERROR = {"type", "message", "traceback"}  # the members of an answer that is an error: all of them are text


class Calls(Generic[InputT]):
    """One list of inputs that the child has, answered from the front."""

    __slots__ = ("answered", "inputs", "known", "settle")

    def __init__(self, inputs: Sequence[InputT], settle: Settle) -> None:
        self.inputs = inputs
        self.settle = settle
        self.answered = 0
        self.known: list[tuple[int, Any, Exception | None]] = []  # ... and not settled yet


def give_back(untouched: list[tuple[Calls[InputT], int]], error: Exception | None = None) -> None:
    """Hand back inputs that the child has not begun."""
    for calls, index in reversed(untouched):  # each goes to the front
        calls.settle(index, NotStarted(calls.inputs[index], error))


def is_answer(reply: Any) -> bool:
    """Tell an answer from what else a child may say, or have in a journal.

    A child that died between its write and its note of it has its greeting and its logs still in there.
    """
    if reply.__class__ is dict:
        return reply.keys() == _ERROR and all(text.__class__ is str for text in reply.values())
    return (reply.__class__ is list and len(reply) < 2) or reply.__class__ is Unloadable
