"""A worker whose every execute is one request: callback to callback, with no task and no future per input."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from worker_ipc import ChannelClosed, EncodeError, ParentChannel, RemoteError
from worker_pool import Failure, NotStarted, Success

from ._settling import sent
from ._worker import SpawnedWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker_pool import Settle, Settled

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")


class RequestWorker(SpawnedWorker[InputT, ResultT]):
    """Requests one method of the child for each input. Replies are matched by id, so many may be in flight."""

    overlaps = True

    def __init__(self, name: str, channel: ParentChannel, method: str) -> None:
        super().__init__(name, channel)
        self._channel = channel
        self._method = method

    @property
    def busy(self) -> bool:
        """Whether a request is unanswered."""
        return self._channel.statistics().pending_requests > 0

    async def execute(self, input: InputT) -> ResultT:
        """Request the method with `input` as its one argument, and return what the child answers."""
        channel = self._channel
        sent, was_active = channel.sent, channel.active
        try:
            result: ResultT = await channel.request(self._method, (input,))
        except (RemoteError, EncodeError):
            raise
        except BaseException as error:
            told = self.doubted(error, "execute", sent=channel.sent - sent, not_started=not was_active)
            if told is error:
                raise
            raise told from error
        return result

    def submit(self, inputs: Sequence[InputT], settle: Settle) -> None:
        """Send a request for each input; `settle` is called from where the replies are read."""
        channel, params = self._channel, [(input,) for input in inputs]
        answered = partial(self._answered, inputs, settle, channel.sent)
        sent(partial(channel.request_many_nowait, self._method, params, answered), inputs, settle, self)

    def _answered(
        self,
        inputs: Sequence[InputT],
        settle: Settle,
        sent_before: int,
        answers: list[tuple[int, Any, RemoteError | ChannelClosed | None]],
    ) -> None:
        outcomes: list[tuple[int, Settled[InputT, Any]]] = []
        for index, result, error in answers:
            input = inputs[index]
            if error is None:
                outcomes.append((index, Success(input, result)))
            elif isinstance(error, RemoteError):
                outcomes.append((index, Failure(input, error)))
            else:
                told = self.doubted(error, "execute", sent=self._channel.sent - sent_before - index)
                outcomes.append((index, NotStarted(input, told) if self.not_started(told) else Failure(input, told)))
        settle.many(outcomes)
