"""On trio, Ctrl-C does not strike in the middle of our code.

asyncio turns Ctrl-C into a cancellation of the main task. trio raises KeyboardInterrupt wherever the main thread
happens to be: between the fork and the line that remembers the child, or in a task that others wait for. No code is
right under that, and trio does not ask it of any: what is marked with `enable_ki_protection` is not struck, and the
main task is told instead, at its next checkpoint. So all of these packages is marked: Ctrl-C means the same on both
loops: it reaches the block that opened the thing.

trio keeps a mark for a code object and looks it up when a signal has come: it costs nothing at any other time. What
our code calls of the user (a handler) is protected with it, for as long as it runs.
"""

from __future__ import annotations

import inspect
import sys
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = {"worker_ipc", "worker_pool", "worker_sources", "worker_spawn"}  # whichever of them are here
_looked_at = 0  # modules that this process had loaded when we last looked


def keep_whole() -> None:
    """Mark what is loaded of these packages, if trio is."""
    global _looked_at
    trio = sys.modules.get("trio")
    if trio is None or len(sys.modules) == _looked_at:
        return
    _looked_at = len(sys.modules)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _OURS:
            for code in _codes_of(module, module):
                trio.lowlevel.enable_ki_protection(SimpleNamespace(__code__=code))


def _codes_of(owner: ModuleType | type, module: ModuleType) -> Iterator[CodeType]:
    """Yield the code of every function of `owner` that was written in `module`: it is told by its globals.

    A class may say that it is of the package: an error is named as it is imported.
    """
    homes = (module.__name__, module.__package__)
    for value in vars(owner).values():
        function: Any = getattr(value, "fget", getattr(value, "__func__", value))
        if isinstance(function, FunctionType):
            inner = inspect.unwrap(function)
            if inner.__globals__ is vars(module):
                yield from _with_inner(inner.__code__)
        elif isinstance(function, type) and function.__module__ in homes and function is not owner:
            yield from _codes_of(function, module)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)
