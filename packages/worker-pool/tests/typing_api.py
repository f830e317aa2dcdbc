"""What type checkers must infer. Not run: `nox -s typecheck` gives it to mypy and pyright, both strict."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import assert_type

from worker_pool import Failure, Retry, Settle, SubmitWorker, Success, Summary, WorkPool
from worker_pool.testing import check_worker


class Length:
    async def execute(self, input: str) -> int:
        return len(input)


class Managed(Length):
    async def __aenter__(self) -> Managed:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class Fast(Length):
    def submit(self, inputs: list[str], settle: Settle) -> None:
        for i, x in enumerate(inputs):
            settle(i, Success(x, len(x)))


async def length(input: str) -> int:
    return len(input)


async def make_length() -> Length:
    return Length()


async def make_function() -> Callable[[str], Awaitable[int]]:
    return length


@asynccontextmanager
async def managed() -> AsyncGenerator[Length]:
    yield Length()


async def words() -> AsyncIterator[str]:
    yield "word"


fast: SubmitWorker[str, int] = Fast()

assert_type(WorkPool(Length), WorkPool[str, int])
assert_type(WorkPool(lambda: Length()), WorkPool[str, int])
assert_type(WorkPool(Managed), WorkPool[str, int])
assert_type(WorkPool(Fast, concurrency=8), WorkPool[str, int])
assert_type(WorkPool(make_length), WorkPool[str, int])
assert_type(WorkPool(make_function), WorkPool[str, int])
assert_type(WorkPool(managed, max_size=2), WorkPool[str, int])
assert_type(WorkPool(lambda: length, retry=Retry()), WorkPool[str, int])


async def use() -> None:
    async with WorkPool(Length) as pool:
        assert_type(await pool.execute("a"), int)
        assert_type(await pool.process(["a", "b"]), Summary)
        await pool.process(words)
        await pool.process(words(), on_failure="stop")
        await pool.process(["a"], on_failure=lambda failure: failure.input.isdigit())
        async with pool.stream(["a"], ordered=True) as outcomes:
            async for outcome in outcomes:
                match outcome:
                    case Success(input, result):
                        assert_type(input, str)
                        assert_type(result, int)
                    case Failure(input, error):
                        assert_type(input, str)
                        assert_type(error, Exception)
    await check_worker(Length, ["a", "b"])


async def misuse(pool: WorkPool[str, int], outcome: Success[str, int]) -> None:
    await pool.execute(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await pool.process([5])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    await pool.process(["a"], on_failure="ignore")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    outcome.result = 5  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    WorkPool(Length, size=4)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    WorkPool(5)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
