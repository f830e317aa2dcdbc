"""How inputs are handed to a child, and what becomes of those that it was never sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from worker_ipc import ChannelClosed, EncodeError
from worker_pool import Failure, NotStarted, Settle, Success

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker_pool import Settled

    from ._errors import Phase, WorkerDied


class Submitting(Protocol):
    """The worker that hands them over."""

    def submit(self, inputs: Sequence[Any], settle: Settle) -> None:
        """Hand over `inputs`."""

    def doubted(self, error: ChannelClosed, phase: Phase, *, not_started: bool) -> ChannelClosed | WorkerDied:
        """Return what `error` is told as."""
        ...


class Telling(Settle):
    """The `Settle` of an input that was submitted alone: hands on its outcome."""

    def __init__(self, input: Any, tell: Callable[[Settled[Any, Any]], object]) -> None:
        self._input = input
        self._tell = tell

    def __call__(self, i: int, outcome: Settled[Any, Any], /) -> None:
        """See `worker_pool.Settle`."""
        self._tell(outcome)

    def many(self, answers: Sequence[tuple[int, Any, Exception | None]], /, *, more: bool = False) -> None:
        """See `worker_pool.Settle`."""
        for _, result, error in answers:
            self._tell(Success(self._input, result) if error is None else Failure(self._input, error))


class Placed(Settle):
    """The `Settle` of an input that was submitted alone after all, and has its place in a longer list."""

    def __init__(self, settle: Settle, index: int) -> None:
        self._settle = settle
        self._index = index

    def __call__(self, i: int, outcome: Settled[Any, Any], /) -> None:
        """See `worker_pool.Settle`."""
        self._settle(self._index, outcome)

    def many(self, answers: Sequence[tuple[int, Any, Exception | None]], /, *, more: bool = False) -> None:
        """See `worker_pool.Settle`."""
        self._settle.many([(self._index, result, error) for _, result, error in answers], more=more)


def settle_unsent(
    error: EncodeError | ChannelClosed,
    inputs: Sequence[Any],
    settle: Settle,
    worker: Submitting,
) -> None:
    """Settle inputs none of which were sent, because of `error`.

    One that can't be encoded fails alone, and the others are submitted one by one; those of a child that died idle
    have not been touched.
    """
    if isinstance(error, ChannelClosed):
        told = worker.doubted(error, "execute", not_started=True)
        for index in reversed(range(len(inputs))):  # each goes to the front
            settle(index, NotStarted(inputs[index], told))
    elif len(inputs) == 1:
        settle(0, Failure(inputs[0], error))
    else:
        for index, input in enumerate(inputs):
            worker.submit([input], Placed(settle, index))
