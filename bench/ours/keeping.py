"""`pool.process` keeps no results, and this bench checks every one: so its workers report them on their way.

That costs ours a call per input which a user does not have.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from bench.load import AsyncRun
from worker_pool import Settle, WorkPool


class Keeper:
    """Hands the results of the workers it was put around to whoever runs the pool."""

    keep: Callable[[Any], object]

    def around(self, make_worker: Callable[[], Any]) -> Callable[[], AbstractAsyncContextManager[Any]]:
        @asynccontextmanager
        async def make() -> AsyncIterator[Any]:
            async with make_worker() as worker:
                if hasattr(worker, "submit"):
                    worker.submit = self._submit(worker.submit)
                else:
                    worker.execute = self._execute(worker.execute)
                yield worker

        return make

    def process(self, pool: WorkPool[Any, Any]) -> AsyncRun:
        async def run(inputs: Iterable[str], keep: Callable[[str], object]) -> None:
            self.keep = keep
            await pool.process(inputs)

        return run

    def _execute(self, execute: Any) -> Any:
        async def executed(item: Any) -> Any:
            result = await execute(item)
            self.keep(result)
            return result

        return executed

    def _submit(self, submit: Any) -> Any:
        def submitted(inputs: list[Any], settle: Any) -> None:
            submit(inputs, Kept(self, settle))

        return submitted


class Kept:
    """A `Settle` on whose way the results are kept."""

    def __init__(self, keeper: Keeper, settle: Settle) -> None:
        self._keeper = keeper
        self._settle = settle

    def __call__(self, i: int, outcome: Any) -> None:
        self._keeper.keep(outcome.result)
        self._settle(i, outcome)

    def many(self, answers: Any, *, more: bool = False) -> None:
        keep = self._keeper.keep
        for _, result, _ in answers:
            keep(result)
        self._settle.many(answers, more=more)
