"""`spawned_worker`: a child process is a worker.

    execute=a function    each execute is one conversation: what it registers is withdrawn when it ends, and the
                          next begins with an empty mailbox
    execute="a name"      each execute is one request of that method; several may be in flight

Either way, a worker whose conversation ended in a way that leaves its state unknown is *in doubt*: it reports itself
inactive, its pool replaces it, and a late reply has nobody left to reach.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, nullcontext
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, Unpack, overload

from worker_ipc import ParentChannel, SpawnError, open_child

from ._command import Command, argv, check_script, title
from ._conversation import Conversable, ConversationWorker
from ._options import ChildOptions, check_functions, check_options, check_transcript, exception_classes, is_ours
from ._requests import ManyRequests, RequestWorker
from ._transcript import transcribed
from ._typevars import InputT, ResultT
from ._worker import NotEntered, SpawnedWorker, logger

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from types import TracebackType

ChannelT = TypeVar("ChannelT", bound=Conversable)
HookT = TypeVar("HookT")

Hook: TypeAlias = Callable[[HookT], Awaitable[object]]


class spawned_worker(NotEntered, Generic[InputT, ResultT]):  # noqa: N801 - it reads as the function it is used as
    """A worker that is a child process. A factory's return value in a pool, or alone::

        pool = WorkPool(lambda: spawned_worker("double.py", execute=ask))

        async with spawned_worker("double.py", execute=ask) as worker:
            print(await worker.execute("a-"))

    Args:
        command: the program, or the program and its arguments. A `.py` script runs under this interpreter, `.js` and
            `.mjs` under node; a relative path is one of the child's working directory. Never split, never given to a
            shell.
        execute: an async function of `(channel, input)` that holds one conversation and returns its result. Or the
            name of a method, which is requested with the input as its one argument: the fastest form, with no task
            per input, and `WorkPool(concurrency=8)` keeps eight requests in flight. A child that gives no function to
            `handle` or `serve` never answers: it logs that, and the pool's `execute_timeout` ends it.
        init: awaited once with the channel before the first input, for instance to wait for ``ready``.
        release: awaited with the channel after each input. Requests then need a task each.
        destroy: awaited once before the child is ended, unless it is in doubt.
        open: how to start it: `open_child` (events and requests), or `open_stream` for programs that speak stdio.
            The hooks and `execute` get what it yields.
        keep_after: a class of exceptions, or an iterable of classes, that `execute` may raise without costing the
            worker, beside a `RemoteError` of this child with nothing of the conversation left unanswered.
        transcript: a file to which both directions of the conversation are written, with times. It is opened on
            entering, which raises OSError if that fails.
        options: are handed to `open` (`cwd`, `env`, `codec`, `mailbox`, ...).

    Entering starts the child and awaits `init`; its limit is the pool's `init_timeout`, or a scope of yours. Leaving
    ends the child and waits until it is gone. Cancellation at any point ends the child.
    One is entered once at a time, and may be entered again afterwards.

    Raises SpawnError if the command can't be started, WorkerDied if the child is gone before `init` is done,
    RuntimeError if this one is entered already. The constructor raises TypeError or ValueError for a wrong argument.
    """

    @overload
    def __init__(
        self,
        command: Command,
        *,
        execute: Callable[[ParentChannel, InputT], Awaitable[ResultT]] | str,
        init: Hook[ParentChannel] | None = None,
        release: Hook[ParentChannel] | None = None,
        destroy: Hook[ParentChannel] | None = None,
        keep_after: type[Exception] | Iterable[type[Exception]] = (),
        transcript: str | os.PathLike[str] | None = None,
        **options: Unpack[ChildOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        command: Command,
        *,
        execute: Callable[[ChannelT, InputT], Awaitable[ResultT]],
        open: Callable[..., AbstractAsyncContextManager[ChannelT]],
        init: Hook[ChannelT] | None = None,
        release: Hook[ChannelT] | None = None,
        destroy: Hook[ChannelT] | None = None,
        keep_after: type[Exception] | Iterable[type[Exception]] = (),
        transcript: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None: ...

    def __init__(
        self,
        command: Command,
        *,
        execute: Callable[[Any, InputT], Awaitable[ResultT]] | str,
        open: Callable[..., AbstractAsyncContextManager[Any]] = open_child,
        init: Hook[Any] | None = None,
        release: Hook[Any] | None = None,
        destroy: Hook[Any] | None = None,
        keep_after: type[Exception] | Iterable[type[Exception]] = (),
        transcript: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        check_functions(open, execute, init=init, release=release, destroy=destroy)
        self._command = command
        self._argv = argv(command)
        self._transcript: AbstractContextManager[object] = nullcontext()
        if transcript is not None:
            check_transcript(transcript, options.get("codec"))
            codec = transcribed(open, options.get("codec"), transcript)
            options["codec"] = self._transcript = codec
        check_options(open, self._argv, options)
        self._open = open
        self._options = options
        self._execute = execute
        self._init, self._release, self._destroy = init, release, destroy
        self._keep_after = exception_classes(keep_after)

    async def __aenter__(self) -> SpawnedWorker[InputT, ResultT]:
        async with AsyncExitStack() as stack:
            stack.enter_context(self.entered_once())
            stack.enter_context(self._transcript)
            channel = await self._start(stack)
            worker = self._make(channel)
            stack.push_async_callback(worker.end)
            logger.info("worker %s started", worker.id)
            if self._init is not None:
                await worker.call_hook("init", self._init, channel)
            if self._destroy is not None:
                stack.push_async_callback(self._say_goodbye, worker, self._destroy, channel)
            self._running = stack.pop_all()
        return worker

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._running.__aexit__(exc_type, exc, traceback)

    async def _start(self, stack: AsyncExitStack) -> Any:
        try:
            if is_ours(self._open):  # another may start it on another machine
                check_script(self._command, self._options.get("cwd") or ".")
            return await stack.enter_async_context(self._open(self._argv, **self._options))
        except SpawnError as error:
            if isinstance(self._command, str) and " " in self._command:
                error.add_note("a string names one program; a program and its arguments go into a list")
            raise

    @staticmethod
    async def _say_goodbye(worker: SpawnedWorker[Any, Any], destroy: Hook[Any], channel: Any) -> None:
        if worker.active:
            await worker.call_hook("destroy", destroy, channel)

    def _make(self, channel: Any) -> SpawnedWorker[InputT, ResultT]:
        name = title(self._argv)
        worker: SpawnedWorker[InputT, ResultT]
        if isinstance(self._execute, str) and self._release is None:
            worker = ManyRequests(name, channel, self._execute)
        elif isinstance(self._execute, str):
            worker = RequestWorker(name, channel, self._execute)
        else:
            worker = ConversationWorker(name, channel, self._execute, self._keep_after)
        if (release := self._release) is not None:
            worker.add_release(release, channel)
        return worker
