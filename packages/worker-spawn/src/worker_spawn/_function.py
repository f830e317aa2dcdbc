"""`function_worker`: a plain Python function, in a child process, is a worker."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, Unpack, overload

from worker_ipc import ChildStream, open_stream
from worker_ipc.codecs import Codec, JsonLines, Pickled

from . import _journal, _loading
from ._asides import greeted
from ._function_calls import FunctionCalls, joins
from ._function_child import MAX_MESSAGE
from ._in_process import InProcessWorker
from ._options import ProcessOptions
from ._pickles import ParentPickles
from ._typevars import InputT, ResultT
from ._withdrawal import withdrawing
from ._worker import NotEntered, SpawnedWorker, logger, worker_id

if TYPE_CHECKING:
    from types import TracebackType

Setup: TypeAlias = str | Callable[[], object]

_ROOM = 2**19  # bytes of a message beyond one result: many small ones travel together, and an error's text is cut
_CHILD = str(Path(__file__).with_name("_function_child.py"))


class function_worker(NotEntered, Generic[InputT, ResultT]):  # noqa: N801 - it reads as the function it is used as
    """A worker that calls one Python function in a child process of its own::

        pool = WorkPool(lambda: function_worker("package.module:function"), max_size=4)

    The child imports the function's module (found on this process's `sys.path`) and never your main script. Inputs
    that are ready travel together, as many as take about a millisecond; yet a crash costs exactly the one that was
    executing: what had finished is delivered, what had not begun runs elsewhere.

    Args:
        function: ``"package.module:name"``, or the function itself, if it can be imported by that name. It takes one
            input. An async function runs on an event loop that lives as long as the child, one call after another.
        setup: a function without arguments, named likewise, that each child calls once, before its first input.
        codec: `JsonLines()`, the default: what JSON holds and nothing else. `Pickled()`: any Python object, arrays
            without copies; only for functions you trust with this process.
        in_process: call the function here, without a child: for a debugger. It blocks the event loop, what it raises
            comes as it is, and nothing is encoded.
        cwd, env, inherit_env, stderr: of the child, as for `worker_ipc.open_child`.
        max_message: bytes of one result as a message, 64 MiB by default. A larger one is a FunctionError.

    What the function raises is raised here as `FunctionError` (type, message and traceback as text), and the child
    takes the next input; so it is with an input that can't be unpickled there. A result that can't be unpickled here is
    a `worker_ipc.ProtocolError` of its input alone. What it prints is passed on line by line behind its worker's name;
    what it logs goes to this process's loggers of the same name, unless its module or `setup` configures `logging`.

    Raises FunctionError if the import or `setup` fails, WorkerDied if the child dies.
    """

    @overload
    def __init__(
        self,
        function: Callable[[InputT], Awaitable[ResultT]],
        *,
        setup: Setup | None = None,
        codec: JsonLines | Pickled | None = None,
        in_process: bool = False,
        **options: Unpack[ProcessOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        function: Callable[[InputT], ResultT] | str,
        *,
        setup: Setup | None = None,
        codec: JsonLines | Pickled | None = None,
        in_process: bool = False,
        **options: Unpack[ProcessOptions],
    ) -> None: ...
    def __init__(
        self,
        function: Callable[[InputT], Any] | str,
        *,
        setup: Setup | None = None,
        codec: JsonLines | Pickled | None = None,
        in_process: bool = False,
        **options: Any,
    ) -> None:
        self._target = _name_of(function, "function")
        self._setup = "" if setup is None else _name_of(setup, "setup")
        _check_options(codec, in_process, options)
        self._codec: Codec[Any] = ParentPickles() if isinstance(codec, Pickled) else codec or JsonLines()
        self._in_process = in_process
        self._max_message: int = options.pop("max_message", MAX_MESSAGE)
        self._options = options

    async def __aenter__(self) -> SpawnedWorker[InputT, ResultT]:
        async with AsyncExitStack() as stack:
            stack.enter_context(self.entered_once())
            worker: SpawnedWorker[InputT, ResultT]
            if self._in_process:
                worker = InProcessWorker(self._target, self._setup)
                await worker.start()
            else:
                worker = await self._start(stack)
            self._running = stack.pop_all()
        return worker

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        await self._running.aclose()  # not told of your exception: a task group would wrap it
        return False

    async def _start(self, stack: AsyncExitStack) -> FunctionCalls[InputT, ResultT]:
        _loading.refuse_workers()
        memory = _journal.create()
        if memory is not None:
            stack.callback(os.close, memory)
        command = [sys.executable, _CHILD, self._target]
        options: dict[str, Any] = self._options | {"env": dict(self._options.get("env") or {}) | self._orders(memory)}
        codec = self._codec
        stream: ChildStream[Any] = await stack.enter_async_context(
            open_stream(command, codec, over="channel", max_message=self._max_message + _ROOM, **options)
        )
        name = self._target.partition(":")[2]
        has_journal = await greeted(stream, name, worker_id(name, stream.pid), joins=joins(codec))
        journal = _journal.Journal(memory) if memory is not None and has_journal else None
        if journal is not None:
            stack.callback(journal.close)
        worker: FunctionCalls[InputT, ResultT] = FunctionCalls(name, stream, codec, journal)
        stack.push_async_callback(worker.end)
        logger.info("worker %s started", worker.id)
        stream.attach(worker)
        await stack.enter_async_context(withdrawing(worker))
        return worker

    def _orders(self, memory: int | None) -> dict[str, str]:
        """What the child has to know before it can import anything: gone from its environment when it has read it."""
        path: list[Any] = sys.path
        entries = [entry for entry in path if isinstance(entry, str)]  # as for Python, which ignores the others
        return {
            "WORKER_SPAWN_PATH": "\n".join(map(_seen_from_anywhere, entries)),  # a path may well hold a colon
            "WORKER_SPAWN_SETUP": self._setup,
            "WORKER_SPAWN_CODEC": "pickle" if isinstance(self._codec, Pickled) else "json",
            "WORKER_SPAWN_JOURNAL": "" if memory is None else _journal.address(memory),
            "WORKER_SPAWN_MAX_MESSAGE": str(self._max_message),
            "WORKER_SPAWN_LOG_LEVEL": str(logging.getLogger().getEffectiveLevel()),
        }


def _seen_from_anywhere(entry: str) -> str:
    """Return an entry of `sys.path` as it is found from another working directory, too; "" is the current one.

    One that leads to nothing here may be no path: editable installs of setuptools put in a word that only their own
    finder knows.
    """
    return os.path.abspath(entry) if os.path.exists(entry or os.curdir) else entry


def _check_options(codec: object, in_process: object, options: dict[str, Any]) -> None:
    """Refuse what only the start would, or the child."""
    unknown = options.keys() - ProcessOptions.__optional_keys__
    if unknown:
        raise TypeError(f"function_worker() got an unexpected keyword argument {min(unknown)!r}")
    if codec is not None and not isinstance(codec, (JsonLines, Pickled)):
        raise TypeError(f"codec must be JsonLines() or Pickled(), got {codec!r:.100}")
    if not isinstance(in_process, bool):
        raise TypeError(f"in_process must be True or False, got {in_process!r:.100}")
    env, max_message = options.get("env"), options.get("max_message", MAX_MESSAGE)
    if env is not None and not isinstance(env, Mapping):
        raise TypeError(f"env must be a mapping of str to str, got {env!r:.100}")
    if not isinstance(max_message, int) or isinstance(max_message, bool) or max_message < 1:
        raise ValueError(f"max_message must be a positive number of bytes, got {max_message!r:.100}")


def _name_of(function: str | Callable[..., object], role: str) -> str:
    """Return the name by which a child can import `function`, or say why it can't. `role`: the option's name."""
    if isinstance(function, str):
        module, colon, path = function.partition(":")
        if not (module and colon and path):
            raise ValueError(f"{role} must be named as 'package.module:function', got {function!r}")
        _refuse_main(module, path, role)
        return function
    home: str | None = getattr(function, "__module__", None)
    name: str | None = getattr(function, "__qualname__", None)
    if not home or not name or "<" in name:
        raise ValueError(
            f"{role} must be one that a child can import by name, got {function!r}: "
            "define it with def, at the top level of a module"
        )
    _refuse_main(home, name, role)
    if not _leads_to(home, name, function):
        raise ValueError(f"{role} must be one that a child can import by name, and {home}:{name} is another one")
    return f"{home}:{name}"


def _refuse_main(module: str, name: str, role: str) -> None:
    if module == "__main__":
        raise ValueError(
            f"{role} must be in a module that a child can import, and {name} is in your main script: "
            "move it into a file of its own, and import it"
        )


def _leads_to(module: str, name: str, function: object) -> bool:
    """Tell whether that name is the function's own, and not that of what it wraps, or of its method's class."""
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is function or (type(found) is type(function) and found == function)  # a class makes equal methods
