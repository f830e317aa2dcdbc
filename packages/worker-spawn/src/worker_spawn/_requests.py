"""A worker whose every execute is one request: callback to callback, with no task and no future per input."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from worker_ipc import ChannelClosed, EncodeError, ParentChannel, RemoteError

from ._settling import settle_unsent
from ._worker import SpawnedWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker_pool import Settle

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
        params = [(input,) for input in inputs]
        try:
            self._channel.request_many_nowait(self._method, params, partial(self._answered, settle))
        except (EncodeError, ChannelClosed) as error:
            settle_unsent(error, inputs, settle, self.submit)

    def _answered(
        self, settle: Settle, answers: Sequence[tuple[int, Any, RemoteError | ChannelClosed | None]], more: bool
    ) -> None:
        if self._channel.active:
            settle.many(answers, more=more)
        else:
            settle.many([(index, result, self._told(error)) for index, result, error in answers], more=more)

    def _told(self, error: RemoteError | ChannelClosed | None) -> Exception | None:
        return self.doubted(error, "execute") if isinstance(error, ChannelClosed) else error
