"""How inputs are handed to a child, and what becomes of those that it was never sent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from worker_ipc import ChannelClosed, EncodeError
from worker_pool import Failure, NotStarted, Settle

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

    def __init__(self, tell: Callable[[Settled[Any, Any]], object]) -> None:
        self._tell = tell

    def __call__(self, i: int, outcome: Settled[Any, Any], /) -> None:
        """See `worker_pool.Settle`."""
        self._tell(outcome)


def sent(
    send: Callable[[], object],
    inputs: Sequence[Any],
    settle: Settle,
    worker: Submitting,
) -> bool:
    """Call `send`, which sends all `inputs` or raises and sends none; return whether it did.

    If not, every input is settled: one that can't be encoded fails alone, and the others are submitted one by one;
    those of a child that died idle have not been touched.
    """
    try:
        send()
    except EncodeError as error:
        if len(inputs) == 1:
            settle(0, Failure(inputs[0], error))
        else:
            for index, input in enumerate(inputs):
                worker.submit([input], Telling(partial(settle, index)))
        return False
    except ChannelClosed as error:
        told = worker.doubted(error, "execute", not_started=True)
        settle.many([(index, NotStarted(input, told)) for index, input in enumerate(inputs)])
        return False
    return True
