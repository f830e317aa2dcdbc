"""Leaving a driven source: its generators are finished by the tasks that drove them, wherever they are."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from worker_sources import IterableSource, merge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.anyio


@contextlib.contextmanager
def noted(tasks: list[tuple[int, int]]) -> Iterator[None]:
    """Note which task enters and which one leaves."""
    entered = anyio.get_current_task().id
    try:
        yield
    finally:
        tasks.append((entered, anyio.get_current_task().id))


async def in_a_cancel_scope(tasks: list[tuple[int, int]]) -> AsyncIterator[int]:
    with noted(tasks), anyio.move_on_after(60):
        yield 1
        await anyio.sleep_forever()


async def in_a_task_group(tasks: list[tuple[int, int]]) -> AsyncIterator[int]:
    with noted(tasks):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            yield 1
            await anyio.sleep_forever()


async def in_a_merge(tasks: list[tuple[int, int]]) -> AsyncIterator[int]:
    with noted(tasks):
        async with merge(in_a_cancel_scope(tasks), in_a_task_group(tasks)) as both:
            first, _ = await both.receive(), await both.receive()
            yield first
            await anyio.sleep_forever()


@pytest.mark.parametrize("make", [IterableSource, merge])
@pytest.mark.parametrize("items", [in_a_cancel_scope, in_a_task_group, in_a_merge])
@pytest.mark.parametrize("then", ["left", "closed", "cancelled", "left while it is asked"])
async def test_a_generator_that_yields_inside_a_scope_is_finished_by_the_task_that_drove_it(
    make: Callable[..., Any], items: Callable[[list[tuple[int, int]]], AsyncIterator[int]], then: str
) -> None:
    tasks = list[tuple[int, int]]()
    with fail_after(5), anyio.CancelScope() as scope:
        async with make(items(tasks)) as source, anyio.create_task_group() as group:
            assert await source.receive() == 1
            if then == "closed":
                source.close()
            elif then == "cancelled":
                scope.cancel()
                await checkpoint()
            elif then == "left while it is asked":
                group.start_soon(source.receive)
                await wait_all_tasks_blocked()
                group.cancel_scope.cancel()
    await checkpoint()  # nothing is left that would cancel us
    assert len(tasks) == (3 if items is in_a_merge else 1)
    assert all(entered == left for entered, left in tasks)


async def test_a_finally_block_may_wait_also_when_the_block_is_cancelled_and_an_error_in_it_spares_the_others() -> None:
    finished = list[str]()

    async def items(name: str) -> AsyncIterator[str]:
        try:
            while True:
                yield name
        finally:
            await checkpoint()
            finished.append(name)
            raise LookupError(name)

    with fail_after(5), pytest.raises(LookupError, match="a"), anyio.CancelScope() as scope:
        async with merge(items("a"), items("b")) as both:
            seen = set[str]()
            while len(seen) < 2:
                seen.add(await both.receive())
            scope.cancel()
            await anyio.sleep_forever()
    assert sorted(finished) == ["a", "b"]


async def test_a_finally_block_without_end_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def items() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await anyio.sleep_forever()

    monkeypatch.setattr("worker_sources._driven.CLEANUP_SECONDS", 0)
    with fail_after(5):
        async with IterableSource(items) as source:
            assert await source.receive() == 1


async def test_closing_ends_who_waits_for_an_iterator_that_nobody_owns() -> None:
    async def endless() -> AsyncIterator[int]:
        yield 1
        await anyio.sleep_forever()

    source, seen = IterableSource(endless), []

    async def consume() -> None:
        seen.extend([item async for item in source])

    with fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            await wait_all_tasks_blocked()
            source.close()
    assert seen == [1]
