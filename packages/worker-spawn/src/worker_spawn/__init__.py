"""A child process is a worker.

    spawned_worker(command, execute=...)      any program that holds a conversation
    function_worker("package.module:name")    a plain Python function, in a child

Both are made for `worker_pool.WorkPool`, and work without one: ``async with spawned_worker(...) as worker``.
Names are imported when first used, so that the child of a `function_worker` loads neither anyio nor asyncio.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._command import Command as Command
    from ._errors import FunctionError as FunctionError
    from ._errors import WorkerDied as WorkerDied
    from ._function import function_worker as function_worker
    from ._spawned import spawned_worker as spawned_worker
    from ._worker import SpawnedWorker as SpawnedWorker

__all__ = ["Command", "FunctionError", "SpawnedWorker", "WorkerDied", "function_worker", "spawned_worker"]

_HOMES = {
    "Command": "_command",
    "FunctionError": "_errors",
    "SpawnedWorker": "_worker",
    "WorkerDied": "_errors",
    "function_worker": "_function",
    "spawned_worker": "_spawned",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
