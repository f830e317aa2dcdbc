"""A worker whose every execute is one request, also callback to callback: with no task and no future per input."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from worker_ipc import ChannelClosed, EncodeError, ParentChannel, RemoteError
from worker_pool import NotStarted

from ._settling import settle_unsent
from ._worker import SpawnedWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker_pool import Settle

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")


class RequestWorker(SpawnedWorker[InputT, ResultT]):
    """Requests one method of the child for each input. Replies are matched by id, so many may be in flight."""

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


class ManyRequests(RequestWorker[InputT, ResultT]):
    """The same, callback to callback: a pool hands over many, and there is no moment between two for a `release`."""

    overlaps = True

    def submit(self, inputs: Sequence[InputT], settle: Settle) -> None:
        """Send a request for each input; `settle` is called from where the replies are read."""
        channel, params = self._channel, [(input,) for input in inputs]
        answered = partial(self._answered, inputs, settle, channel.sent)
        try:
            channel.request_many_nowait(self._method, params, answered)
        except (EncodeError, ChannelClosed) as error:
            settle_unsent(error, inputs, settle, self)

    def _answered(
        self,
        inputs: Sequence[InputT],
        settle: Settle,
        sent_before: int,
        answers: Sequence[tuple[int, Any, RemoteError | ChannelClosed | None]],
        more: bool,
    ) -> None:
        if self._channel.active:
            settle.many(answers, more=more)
            return
        known: list[tuple[int, Any, Exception | None]] = []
        untouched: list[tuple[int, Exception]] = []
        for index, result, error in answers:
            if not isinstance(error, ChannelClosed):
                known.append((index, result, error))
                continue
            told = self.doubted(error, "execute", sent=self._channel.sent - sent_before - index)
            if self.not_started(told):
                untouched.append((index, told))
            else:
                known.append((index, None, told))
        if known:
            settle.many(known, more=more)
        for index, died in reversed(untouched):  # each goes to the front
            settle(index, NotStarted(inputs[index], died))
