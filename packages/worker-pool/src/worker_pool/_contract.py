"""The contract of a worker, as checks that any implementation must pass. Public in `worker_pool.testing`."""

from __future__ import annotations

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
    with anyio.fail_after(timeout):
        await _check_life(make_worker, inputs)
        if inputs:
            await _check_submit(make_worker, inputs)
            await _check_pool(make_worker, inputs, slow)


@asynccontextmanager
async def _opened(make_worker: Any) -> AsyncGenerator[Any]:
    with anyio.CancelScope() as life:
        async with open_worker(make_worker, life, 10) as worker:
            yield worker


async def _check_life(make_worker: Any, inputs: Sequence[Any]) -> None:
    for _ in range(2):
        async with _opened(make_worker) as worker:
            assert getattr(worker, "active", True), "a worker that was just made must be active"
            for input in inputs:
                await worker.execute(input)
                assert getattr(worker, "active", True), "a worker must stay active after an input that ended well"
                if hasattr(worker, "release"):
                    await worker.release()


async def _check_submit(make_worker: Any, inputs: Sequence[Any]) -> None:
    settled: list[list[Settled[Any, Any]]] = [[] for _ in inputs]
    done = anyio.Event()
    settle = _Noting(inputs, settled, done)

    async with _opened(make_worker) as worker:
        if not hasattr(worker, "submit"):
            return
        worker.submit(list(inputs), settle)
        await done.wait()
        for _ in range(3):
            await checkpoint()
        _assert_once(inputs, settled)
        assert all(isinstance(one, Success) for [one] in settled), f"all inputs must end well, got {settled!r}"
        settled[:] = [[] for _ in inputs]
        worker.submit(list(inputs), settle)
    _assert_once(inputs, settled)


class _Noting(Settle):
    """A `Settle` that notes what was said."""

    def __init__(self, inputs: Sequence[Any], settled: list[list[Settled[Any, Any]]], done: anyio.Event) -> None:
        self._inputs = inputs
        self._settled = settled
        self._done = done

    def __call__(self, i: int, outcome: Settled[Any, Any], /) -> None:
        self._settled[i].append(outcome)
        if all(self._settled):
            self._done.set()

    def many(self, answers: Sequence[Answer], /, *, more: bool = False) -> None:
        for i, result, error in answers:
            input = self._inputs[i]
            self(i, Success(input, result) if error is None else Failure(input, error))


def _assert_once(inputs: Sequence[Any], settled: list[list[Settled[Any, Any]]]) -> None:
    for input, outcomes in zip(inputs, settled, strict=True):
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
