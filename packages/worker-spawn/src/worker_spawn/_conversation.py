"""A worker whose every execute is one conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from worker_ipc import EncodeError, RemoteError

from ._worker import Owner, SpawnedWorker, awaitable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")


class Conversable(Owner, Protocol):
    """A channel that can bound a conversation, and tell whether anything was sent in it."""

    @property
    def sent(self) -> int:
        """Messages sent so far."""
        ...

    @property
    def received(self) -> int:
        """Messages received so far."""
        ...

    @property
    def refused(self) -> int:
        """Requests made here that were answered with an error."""
        ...

    def conversation(self) -> AbstractContextManager[Any]:
        """Return a scope that begins clean and leaves nothing registered."""
        ...


class ConversationWorker(SpawnedWorker[InputT, ResultT]):
    """Runs the user's function once per input, inside a scope that withdraws whatever it registered."""

    def __init__(
        self,
        name: str,
        channel: Conversable,
        talk: Callable[[Any, InputT], Awaitable[ResultT]],
        keep_after: tuple[type[Exception], ...],
    ) -> None:
        super().__init__(name, channel)
        self._channel = channel
        self._talk = talk
        self._talking = False
        self._keep_after = keep_after

    async def execute(self, input: InputT) -> ResultT:
        """Hold one conversation about `input`.

        The `WorkerDied` of a child that was dead before it had read a message of it says `not_started`: in a pool, the
        function is called again, with another child.

        Any end but a result leaves the worker in doubt, except an error of `keep_after`, a `RemoteError` of this child
        when as much has come back as was sent (it has answered and is at rest), and an `EncodeError` before anything
        was sent.

        RuntimeError if one is under way: they would take each other's answers.
        """
        if self._talking:
            raise RuntimeError(
                f"{self.id} holds a conversation, and can hold one at a time: make the pool with concurrency=1, "
                'or have the child answer requests, with execute="method"'
            )
        channel = self._channel
        sent, received, refused = channel.sent, channel.received, channel.refused
        was_active = channel.active
        self._talking = True
        try:
            with channel.conversation():
                rule = "execute must be async; a blocking function is for function_worker"
                result: ResultT = await awaitable(self._talk(channel, input), rule, self._talk)
                return result
        except BaseException as error:
            sent = channel.sent - sent
            is_answered = channel.refused > refused and channel.received - received >= sent
            if (
                (isinstance(error, self._keep_after) and channel.active)  # else it died, and that is what is told
                or (isinstance(error, RemoteError) and is_answered)  # it may be one of another child
                or (isinstance(error, EncodeError) and not sent)
            ):
                raise
            told = self.doubted(error, "execute", sent=sent, not_started=not was_active)
            if told is error:
                raise
            raise told from error
        finally:
            self._talking = False
