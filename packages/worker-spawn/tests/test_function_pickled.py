"""Over `Pickled()`, no input and no result feels what else was ready with it."""

import importlib
import os
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from worker_ipc import ProtocolError
from worker_ipc.codecs import Pickled
from worker_pool import Failure, Settle, Success, WorkPool
from worker_spawn import FunctionError, WorkerDied, function_worker

pytestmark = pytest.mark.anyio


class Told(Settle):
    """What became of the inputs of one list."""

    def __init__(self, inputs: Sequence[Any]) -> None:
        self._inputs = inputs
        self._outcomes: dict[int, Any] = {}
        self._done = anyio.Event()

    def __call__(self, i: int, outcome: Any, /) -> None:
        self._outcomes[i] = outcome
        if len(self._outcomes) == len(self._inputs):
            self._done.set()

    def many(self, answers: Sequence[tuple[int, Any, Exception | None]], /, *, more: bool = False) -> None:
        for i, result, error in answers:
            self(i, Success(self._inputs[i], result) if error is None else Failure(self._inputs[i], error))

    async def all(self) -> list[Any]:
        with anyio.fail_after(20):
            await self._done.wait()
        return [outcome for _, outcome in sorted(self._outcomes.items())]


async def together(worker: Any, inputs: Sequence[Any]) -> list[Any]:
    """Give all `inputs` to the worker as one list; return their outcomes."""
    told = Told(inputs)
    worker.submit(inputs, told)
    return await told.all()


def loads_here_only(otherwise: str) -> Any:
    return importlib.import_module("functions").Loads(os.getpid(), otherwise)


async def test_one_object_given_twice_is_two_inputs() -> None:
    async with function_worker("functions:add_itself", codec=Pickled()) as worker:
        shared: list[int] = []
        assert [outcome.unwrap() for outcome in await together(worker, [shared] * 8)] == [1] * 8


async def test_a_result_that_cannot_be_loaded_costs_itself_alone() -> None:
    async with function_worker("functions:only_loads_here", codec=Pickled()) as worker:
        outcomes = await together(worker, [1, 2, "not there", 4])
        assert [outcome.unwrap() for outcome in outcomes if isinstance(outcome, Success)] == [1, 2, 4]
        assert isinstance(outcomes[2].error, ProtocolError)
        assert "cannot be loaded: ValueError: not here" in str(outcomes[2].error)
        with pytest.raises(ProtocolError, match="not here"):
            await worker.execute("not there")
        assert worker.active


async def test_an_input_that_cannot_be_loaded_costs_itself_alone() -> None:
    async with function_worker("functions:text_of", codec=Pickled()) as worker:
        outcomes = await together(worker, [1, 2, loads_here_only("raise"), 4])
        assert [outcome.unwrap() for outcome in outcomes if isinstance(outcome, Success)] == ["x", "xx", "xxxx"]
        assert isinstance(outcomes[2].error, FunctionError)
        assert "cannot be loaded: ValueError: not here" in str(outcomes[2].error)
        assert worker.active


async def test_an_input_that_ends_the_child_when_it_is_loaded_has_begun() -> None:
    async with WorkPool(lambda: function_worker("functions:text_of", codec=Pickled()), max_size=1) as pool:
        async with pool.stream([1, 2, loads_here_only("exit"), 4], ordered=True) as outcomes:
            first, second, exited, last = [outcome async for outcome in outcomes]
        assert [outcome.unwrap() for outcome in (first, second, last)] == ["x", "xx", "xxxx"]
        assert isinstance(exited, Failure)
        assert isinstance(exited.error, WorkerDied)
        assert pool.statistics().started == 2


async def test_inputs_of_all_sizes_travel_together() -> None:
    arrays = [importlib.import_module("functions").Array(bytes([n]) * 100_000) for n in range(3)]
    inputs: list[Any] = [b"a", arrays[0], b"b" * 200_000, arrays[1], arrays[2], b"c"]
    async with function_worker("functions:only_loads_here", codec=Pickled()) as worker:
        results = [outcome.unwrap() for outcome in await together(worker, inputs)]
    assert [getattr(result, "memory", result) for result in results] == [
        getattr(input, "memory", input) for input in inputs
    ]
