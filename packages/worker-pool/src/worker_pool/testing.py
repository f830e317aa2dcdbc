"""For tests of programs that use a pool, and of workers: a worker that follows a script, and the contract of all.

workers = FakeWorkers([1, ValueError("no"), Hang, Die])
async with WorkPool(workers, max_size=1) as pool: ...
assert workers.inputs == [...]

async def test_my_worker():
    await check_worker(make_my_worker, [input_1, input_2])
"""

from __future__ import annotations

import inspect
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio

from ._contract import check_worker as check_worker

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Die", "FakeWorker", "FakeWorkers", "Hang", "WorkerDied", "check_worker"]


class WorkerDied(Exception):
    """What a `FakeWorker` raises when its script says `Die`."""


class Hang:
    """In a script: wait until cancelled. An instance, `Hang(event)`, waits for the event, then returns the input."""

    def __init__(self, until: anyio.Event) -> None:
        self.until = until


class Die:
    """In a script: raise `WorkerDied`, and be inactive from then on."""


class FakeWorker:
    """A worker that does for each input what its script says next.

    A step is a value to return, an exception to raise, `Hang` (or `Hang(event)`), `Die`, or a function that is
    called with the input and may be async. When the script is at its end it returns the inputs themselves.
    `calls` lists what happened to it: "init", "execute", "release", "destroy".
    """

    def __init__(self, script: Iterable[Any] = (), *, id: object = None) -> None:
        self.script: deque[Any] = script if isinstance(script, deque) else deque(script)
        self.id = id
        self.active: bool = True
        self.calls: list[str] = []
        self.inputs: list[Any] = []

    async def init(self) -> None:
        """Note the call."""
        self.calls.append("init")

    async def execute(self, input: Any) -> Any:
        """Do the next step."""
        self.calls.append("execute")
        self.inputs.append(input)
        if not self.script:
            return input
        return await self._do(self.script.popleft(), input)

    async def release(self) -> None:
        """Note the call."""
        self.calls.append("release")

    async def destroy(self) -> None:
        """Note the call."""
        self.calls.append("destroy")
        self.active = False

    async def _do(self, step: Any, input: Any) -> Any:
        if isinstance(step, BaseException):
            raise step
        if step is Die:
            self.active = False
            raise WorkerDied("as its script says")
        if step is Hang:
            await anyio.sleep_forever()
        elif isinstance(step, Hang):
            await step.until.wait()
            return input
        elif callable(step):
            result: Any = step(input)
            return await result if inspect.isawaitable(result) else result
        return step


class FakeWorkers:
    """Makes workers that share one script: `WorkPool(FakeWorkers([...]))`. `made` lists them all."""

    def __init__(self, script: Iterable[Any] = (), *, starts: Iterable[Exception | None] = ()) -> None:
        self.script: deque[Any] = deque(script)
        self.made: list[FakeWorker] = []
        self._starts = iter(starts)

    def __call__(self) -> FakeWorker:
        """Make one; or raise, where `starts` has an exception in this place."""
        error = next(self._starts, None)
        if error is not None:
            raise error
        worker = FakeWorker(self.script, id=len(self.made) + 1)
        self.made.append(worker)
        return worker

    @property
    def inputs(self) -> list[Any]:
        """All inputs that any of them was given."""
        return [input for worker in self.made for input in worker.inputs]
