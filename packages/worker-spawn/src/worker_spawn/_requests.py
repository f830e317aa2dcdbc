"""A worker whose every execute is one request: callback to callback, with no task and no future per input."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from worker_ipc import ChannelClosed, EncodeError, ParentChannel, RemoteError
from worker_pool import Failure, NotStarted, Settle, Success

from ._settling import Telling
from ._worker import SpawnedWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker_pool import Settled

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
        try:
            result: ResultT = await self._channel.request(self._method, (input,))
        except (RemoteError, EncodeError):
            raise
        except BaseException as error:
            told = self.doubted(error, "execute")
            if told is error:
                raise
            raise told from error
        return result

    def submit(self, inputs: Sequence[InputT], settle: Settle) -> None:
        """Send a request for each input; `settle` is called from where the replies are read."""
        try:
            self._channel.request_many_nowait(
                self._method, [(input,) for input in inputs], partial(self._answered, inputs, settle)
            )
        except EncodeError as error:
            if len(inputs) == 1:
                settle(0, Failure(inputs[0], error))
            else:  # nothing was sent: one of them is at fault
                for index, input in enumerate(inputs):
                    self.submit([input], Telling(partial(settle, index)))
        except ChannelClosed:  # it died idle, and nothing was written: these inputs have not been touched
            settle.many([(index, NotStarted(input)) for index, input in enumerate(inputs)])

    def _answered(
        self,
        inputs: Sequence[InputT],
        settle: Settle,
        answers: list[tuple[int, Any, RemoteError | ChannelClosed | None]],
    ) -> None:
        outcomes: list[tuple[int, Settled[InputT, Any]]] = []
        for index, result, error in answers:
            if error is None:
                outcomes.append((index, Success(inputs[index], result)))
            else:
                outcomes.append((index, Failure(inputs[index], self._told(error))))
        settle.many(outcomes)

    def _told(self, error: RemoteError | ChannelClosed) -> Exception:
        if isinstance(error, RemoteError):
            return error
        told = self.doubted(error, "execute")
        told.__cause__ = error if told is not error else None
        return told  # type: ignore[return-value]
