"""`check_worker`: a good worker passes, and each promise that is broken is told in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from worker_pool import NotStarted, Success
from worker_pool.testing import check_worker

pytestmark = pytest.mark.anyio


class Good:
    """Settles a list at once; `batch` says how long it may be."""

    batch: int | None = 2

    async def execute(self, x: int) -> int:
        return 2 * x

    def submit(self, inputs: Any, settle: Any) -> None:
        if self.batch is not None and len(inputs) > self.batch:
            raise ValueError("too many at once")
        self.tell([Success(x, 2 * x) for x in inputs], settle)

    def tell(self, outcomes: list[Any], settle: Any) -> None:
        for i, outcome in enumerate(outcomes):
            settle(i, outcome)


class ForgetsOne(Good):
    def tell(self, outcomes: list[Any], settle: Any) -> None:
        settle(0, outcomes[0])


class SettlesTwice(Good):
    def tell(self, outcomes: list[Any], settle: Any) -> None:
        for i, outcome in enumerate(outcomes):
            settle(i, outcome)
            settle(i, outcome)


class MixesUp(Good):
    def tell(self, outcomes: list[Any], settle: Any) -> None:
        for i, outcome in enumerate(reversed(outcomes)):
            settle(i, outcome)


class CountsFromOne(Good):
    def tell(self, outcomes: list[Any], settle: Any) -> None:
        for i, outcome in enumerate(outcomes, 1):
            settle(i, outcome)


class NeverBegins(Good):
    def tell(self, outcomes: list[Any], settle: Any) -> None:
        for i, outcome in enumerate(outcomes):
            settle(i, NotStarted(outcome.input))


class ExecutesAtOnce(Good):
    def execute(self, x: int) -> int:  # type: ignore[override]
        return 2 * x


class ReleasesAtOnce(Good):
    def release(self) -> None: ...


class IsWornOut(Good):
    active = False


class OneByOne(Good):
    batch = None


@pytest.mark.parametrize("worker", [Good, OneByOne])
async def test_a_worker_that_keeps_its_promises_passes(worker: Any) -> None:
    await check_worker(worker, [1, 2, 3])


@pytest.mark.parametrize(
    ("worker", "sentence"),
    [
        (ForgetsOne, "within 0.3 s: something was waited for in vain"),
        (SettlesTwice, "1 was settled 2 times"),
        (MixesUp, "settled with its own result: 1 has 4, and 2 by execute"),
        (CountsFromOne, "an index must be one of the list's 2"),
        (NeverBegins, "all inputs must end well"),
        (ExecutesAtOnce, "execute must be async, and returned 2"),
        (ReleasesAtOnce, "release must be async, and returned None"),
        (IsWornOut, "just made must be active"),
    ],
)
async def test_a_promise_that_is_broken_is_told_in_a_sentence(worker: Any, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        await check_worker(worker, [1, 2, 3], timeout=0.3 if worker is ForgetsOne else 30)
