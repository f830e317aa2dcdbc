"""The contract of a worker, as checks that any implementation must pass. Public in `worker_pool.testing`."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from ._outcome import Failure, NotStarted, Success
from ._pool import WorkPool
from ._worker import Settle, open_worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from ._outcome import Settled
    from ._worker import Answer, Made, Worker

In = TypeVar("In")


async def check_worker(
    make_worker: Callable[[], Made[In, Any]] | Callable[[], Worker[In, Any]],
    inputs: Sequence[In] = (),
    *,
    slow: In | None = None,
    timeout: float = 30,
) -> None:
    """Raise AssertionError, with a sentence, if workers of this kind break a promise.

    `inputs`: at least two that end with a result; without any, only its life is looked at. `slow`: one that runs until
    it is cancelled, if there is such.

    1. It can be made, used and ended, alone and again; the same input gives the same result each time or, if it
       does not, at least a result.
    2. Its hooks, where it has them, are async functions; `active` is true while it is fit.
    3. With `submit`: each input is settled exactly once, by an outcome; also those it has when it is destroyed.
    4. Cancelled in the middle, it can still be ended; and a pool replaces it and goes on.

    Everything is to happen within `timeout` seconds.
    """
    if len(inputs) == 1:
        raise ValueError("inputs must be at least 2, or none, got 1")
    with anyio.move_on_after(timeout) as scope:
        results = await _check_life(make_worker, inputs)
        if inputs:
            await _check_submit(make_worker, inputs, results)
            await _check_pool(make_worker, inputs, slow)
    assert not scope.cancelled_caught, f"all of it must happen within {timeout:g} s: something was waited for in vain"


@asynccontextmanager
async def _opened(make_worker: Any) -> AsyncGenerator[Any]:
    with anyio.CancelScope() as life:
        async with open_worker(make_worker, life, 10) as worker:
            yield worker


async def _awaited(name: str, made: Any) -> Any:
    assert inspect.isawaitable(made), f"{name} must be async, and returned {made!r:.100}"
    return await made


async def _check_life(make_worker: Any, inputs: Sequence[Any]) -> list[Any] | None:
    """Return the result of each input, if it is the same in every life."""
    lives: list[list[Any]] = []
    for _ in range(2):
        results: list[Any] = []
        async with _opened(make_worker) as worker:
            assert getattr(worker, "active", True), "a worker that was just made must be active"
            for input in inputs:
                results.append(await _awaited("execute", worker.execute(input)))
                assert getattr(worker, "active", True), "a worker must stay active after an input that ended well"
                if hasattr(worker, "release"):
                    await _awaited("release", worker.release())
        lives.append(results)
    return lives[0] if lives[0] == lives[1] else None


async def _check_submit(make_worker: Any, inputs: Sequence[Any], results: list[Any] | None) -> None:
    async with _opened(make_worker) as worker:
        if not hasattr(worker, "submit"):
            return
        longest: int = getattr(worker, "batch", None) or 1  # a list may hold no more than the worker says
        for start in range(0, len(inputs), longest):
            settle = _Noting(inputs[start : start + longest])
            worker.submit(list(settle.inputs), settle)
            await settle.done.wait()
            for _ in range(3):
                await checkpoint()
            settle.check()
            for i, [outcome] in enumerate(settle.outcomes, start):
                assert isinstance(outcome, Success), f"all inputs must end well, got {outcome!r}"
                assert results is None or outcome.result == results[i], (
                    f"each input must be settled with its own result: {inputs[i]!r} has {outcome.result!r}, "
                    f"and {results[i]!r} by execute"
                )
        settle = _Noting(inputs[:longest])
        worker.submit(list(settle.inputs), settle)
    settle.check()


class _Noting(Settle):
    """A `Settle` that notes what was said."""

    def __init__(self, inputs: Sequence[Any]) -> None:
        self.inputs = inputs
        self.outcomes: list[list[Settled[Any, Any]]] = [[] for _ in inputs]
        self.done = anyio.Event()  # each is settled, or something that is none
        self._strange: list[int] = []

    def __call__(self, i: int, outcome: Settled[Any, Any], /) -> None:
        if 0 <= i < len(self.outcomes):
            self.outcomes[i].append(outcome)
        else:
            self._strange.append(i)
        if self._strange or all(self.outcomes):
            self.done.set()

    def many(self, answers: Sequence[Answer], /, *, more: bool = False) -> None:
        for i, result, error in answers:
            input = self.inputs[i] if 0 <= i < len(self.inputs) else None
            self(i, Success(input, result) if error is None else Failure(input, error))

    def check(self) -> None:
        """Raise AssertionError unless each input was settled once, and nothing else was."""
        assert not self._strange, f"an index must be one of the list's {len(self.inputs)}, got {self._strange}"
        for input, outcomes in zip(self.inputs, self.outcomes, strict=True):
            assert len(outcomes) == 1, f"each input must be settled once, {input!r} was settled {len(outcomes)} times"
            assert isinstance(outcomes[0], (Success, Failure, NotStarted)), f"expected an outcome, got {outcomes[0]!r}"


async def _check_pool(make_worker: Any, inputs: Sequence[Any], slow: Any) -> None:
    async with WorkPool[Any, Any](make_worker, max_size=2) as pool:
        summary = await pool.process(inputs)
        assert summary.succeeded == len(inputs), f"all inputs must succeed, got {summary!r}"
        if slow is not None:
            with anyio.move_on_after(0.1) as scope:
                await pool.execute(slow)
            assert scope.cancelled_caught, f"the slow input must run until it is cancelled, but {slow!r} ended"
            await pool.execute(inputs[0])
