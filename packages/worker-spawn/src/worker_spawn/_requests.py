"""A worker whose every execute is one request: callback to callback, with no task and no future per input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from worker_ipc import ChannelClosed, EncodeError, ParentChannel, RemoteError
from worker_pool import Failure, NotStarted, Settle, Success

from ._worker import SpawnedWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        """Send a request for each input; `settle` is called from where its reply is read."""
        request, method = self._channel.request_nowait, self._method
        for index, input in enumerate(inputs):
            try:
                request(method, (input,), _Reply(self, settle, index, input))
            except EncodeError as error:
                settle(index, Failure(input, error))
            except ChannelClosed:  # it died idle, and nothing was written: this input has not been touched
                settle(index, NotStarted(input))


class _Reply:
    """Turns one reply into one outcome."""

    __slots__ = ("_index", "_input", "_settle", "_worker")

    def __init__(self, worker: RequestWorker[Any, Any], settle: Settle, index: int, input: Any) -> None:
        self._worker = worker
        self._settle = settle
        self._index = index
        self._input = input

    def __call__(self, result: Any, error: RemoteError | ChannelClosed | None) -> None:
        if error is None:
            self._settle(self._index, Success(self._input, result))
        elif isinstance(error, RemoteError):
            self._settle(self._index, Failure(self._input, error))
        else:
            told = self._worker.doubted(error, "execute")
            told.__cause__ = error if told is not error else None
            self._settle(self._index, Failure(self._input, told))  # type: ignore[arg-type]
