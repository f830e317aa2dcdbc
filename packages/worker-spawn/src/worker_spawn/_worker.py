"""What every worker with a child process has in common: who it is, whether it may be used again, how it ends."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from worker_ipc import ChannelClosed, Overrun, ProtocolError

from ._errors import Phase, WorkerDied

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

logger = logging.getLogger("worker_spawn")

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")
ErrorT = TypeVar("ErrorT", bound=BaseException)

_PAGE = os.sysconf("SC_PAGE_SIZE")
_DOUBT_GRACE = 0.1  # seconds: a worker in doubt is not asked to leave, and meanwhile it holds a place in its pool


class Owner(Protocol):
    """What owns a child process: `ParentChannel` and `ChildStream` do."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def active(self) -> bool:
        """False once nothing more can be sent or awaited."""
        ...

    async def destroy(self, grace: float = ...) -> None:
        """End it."""
        ...


def worker_id(name: str, pid: int) -> str:
    """Return what a worker is called in outcomes and logs."""
    return f"{name} [{pid}]"


class SpawnedWorker(Generic[InputT, ResultT]):
    """A running child process as a worker. Made by `spawned_worker` and `function_worker`, not by hand.

    `id` names it in outcomes and logs; `pid` is its process. `active` is False once it must be replaced: the child is
    gone, or its state is in doubt. `rss` is its resident memory in bytes, for `WorkPool(retire=...)`.
    """

    id: str
    pid: int

    def __init__(self, name: str, owner: Owner) -> None:
        self.pid = owner.pid
        self.id = worker_id(name, owner.pid)
        self._name = name
        self._owner = owner
        self._in_doubt = False

    def __repr__(self) -> str:
        state = "in doubt" if self._in_doubt else "active" if self.active else "ended"
        return f"<worker {self.id}, {state}>"

    @property
    def active(self) -> bool:
        """False: replace me."""
        return not self._in_doubt and self._owner.active

    @property
    def busy(self) -> bool:
        """Whether the child owes an answer. If it is ended then, its input was given up, by a limit or otherwise."""
        return False

    @property
    def rss(self) -> int:
        """Resident memory of the child in bytes, without its own children; 0 if that can't be read."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as statm:
                return int(statm.read().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    async def execute(self, input: InputT) -> ResultT:
        """Hand one input to the child and return its result.

        Raises WorkerDied if the child dies first. Cancellation leaves the worker in doubt: it must be replaced.
        """
        raise NotImplementedError

    def not_started(self, error: Exception) -> bool:
        """Tell whether `error`, raised by `execute`, says that this child certainly did not begin its input.

        Only of its own death: the function of a conversation may ask another worker, and raise what that one raised.
        """
        return isinstance(error, WorkerDied) and error.not_started and error.pid == self.pid

    def doubted(self, error: ErrorT, phase: Phase, *, sent: int = 0, not_started: bool = False) -> ErrorT | WorkerDied:
        """Put this worker in doubt because of `error`; return what to raise: a closed channel is told as a death.

        `sent`: how many messages were sent since the input was handed over, its own included; 0 if that is not known.
        If the child has read none of them in full, it has not begun: a message is what it acts on.
        """
        self._in_doubt = True
        if isinstance(error, ChannelClosed) and not isinstance(error, (ProtocolError, Overrun)):
            not_started = not_started or 0 < sent <= error.unread
            died = WorkerDied.from_closed(self._name, phase, error, not_started=not_started)
            died.__cause__ = error
            return died
        return error

    async def call_hook(self, phase: Phase, hook: Callable[[Any], Awaitable[object]], channel: Any) -> None:
        """Await one of the user's hooks. If it fails, this worker is in doubt."""
        try:
            await awaitable(hook(channel), f"{phase} must be an async function of the channel", hook)
        except BaseException as error:
            told = self.doubted(error, phase)
            if told is error:
                raise
            raise told from error

    def add_release(self, hook: Callable[[Any], Awaitable[object]], channel: Any) -> None:
        """Have a `release` from now on: a pool calls one where it finds one, and looking is cheaper than calling."""
        self.release: Callable[[], Awaitable[None]] = lambda: self.call_hook("release", hook, channel)

    async def end(self) -> None:
        """End the child: an idle one is asked to leave; one in doubt, or still at work, is killed soon. Idempotent."""
        if self._in_doubt or self.busy:
            await self._owner.destroy(grace=_DOUBT_GRACE)
        else:
            await self._owner.destroy()
        logger.info("worker %s ended", self.id)


def awaitable(made: Any, rule: str, function: object) -> Awaitable[Any]:
    """Return what `function` made, or say what it should be: Python's own sentence names nothing."""
    if not hasattr(made, "__await__"):
        raise TypeError(f"{rule}, and {function!r} returned {made!r:.100}")
    pending: Awaitable[Any] = made
    return pending


WORKER_NAMES = {"active", "busy", "execute", "id", "pid", "rss", "submit"}


class NotEntered:
    """The description of a worker: says how to get it to whoever takes it for one, and is one worker at a time."""

    _is_entered = False

    @contextmanager
    def entered_once(self) -> Generator[None]:
        """Hold it from entering to leaving, for an `AsyncExitStack`. RuntimeError if somebody holds it already."""
        if self._is_entered:
            kind = type(self).__name__
            raise RuntimeError(
                f"this {kind} is entered already: make one for each, as in WorkPool(lambda: {kind}(...))"
            )
        self._is_entered = True
        try:
            yield
        finally:
            self._is_entered = False

    if not TYPE_CHECKING:  # a type checker knows by itself what is not there

        def __getattr__(self, name: str) -> Any:
            kind = type(self).__name__
            if name in WORKER_NAMES:
                raise AttributeError(f"{kind} has no {name!r}: enter it first, async with {kind}(...) as worker")
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")
