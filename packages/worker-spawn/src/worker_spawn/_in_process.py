"""The function of a `function_worker` without its child: for a debugger, a profiler, or a test of your own."""

from __future__ import annotations

import inspect
import os
from typing import Any, TypeVar

from ._loading import resolve
from ._worker import SpawnedWorker

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")


class _ThisProcess:
    """Owns nothing, and so ends nothing."""

    active = True

    def __init__(self) -> None:
        self.pid = os.getpid()

    async def destroy(self, grace: float = 0.0) -> None:
        return


class InProcessWorker(SpawnedWorker[InputT, ResultT]):
    """Calls the function right here, blocking the event loop. What it raises is raised as it is."""

    def __init__(self, target: str, setup: str) -> None:
        super().__init__(target.partition(":")[2], _ThisProcess())
        self._function = resolve(target)
        self._setup = resolve(setup) if setup else None

    async def start(self) -> None:
        """Run the setup."""
        if self._setup is not None and inspect.isawaitable(pending := self._setup()):
            await pending

    async def execute(self, input: InputT) -> ResultT:
        """Call the function and return its result."""
        result: Any = self._function(input)
        if inspect.isawaitable(result):
            result = await result
        return result  # type: ignore[no-any-return]
