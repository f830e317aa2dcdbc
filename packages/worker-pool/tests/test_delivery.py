"""Acknowledged delivery: what the pool tells a source that wants to know."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from memory_acks import MemoryAcks, MemoryDelivery

from worker_pool import Failure, Retry, Success, WorkFailed, WorkPool
from worker_pool.testing import FakeWorkers, Hang

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio


async def test_each_is_acknowledged_after_its_result() -> None:
    source = MemoryAcks(range(50))
    source.close()
    order: list[Any] = []

    async def execute(x: int) -> int:
        await checkpoint()
        order.append(x)
        assert ("ack", x) not in source.record
        return x

    async with WorkPool(lambda: execute, max_size=4) as pool:
        summary = await pool.process(source)
    assert summary.succeeded == 50
    assert source.counts() == {"ack": 50}
    assert source.held == set()
    assert sorted(order) == list(range(50))


async def test_no_more_are_received_than_slots_are_free() -> None:
    source = MemoryAcks(range(100))
    async with WorkPool(FakeWorkers([Hang] * 100), max_size=3) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.process, source)
        await anyio.wait_all_tasks_blocked()
        assert source.most_held == len(source.held) == 3
        assert max(source.asked) <= 3
        pool.close(0)
    assert source.counts() == {"hand_back": 3}
    assert sorted(value for value, _ in source.waiting) == list(range(100)), "nothing is lost"
    assert all(attempt == 1 for _, attempt in source.waiting), "and nothing counted"


async def test_the_outcome_carries_the_value_and_the_attempt() -> None:
    source = MemoryAcks(["a"])
    source.waiting[0] = ("a", 2)
    source.close()
    async with WorkPool(FakeWorkers(["result"]), max_size=1) as pool, pool.stream(source) as outcomes:
        outcome = await anext(outcomes)
    assert isinstance(outcome, Success)
    assert (outcome.input, outcome.result, outcome.attempts) == ("a", "result", 2)


async def test_a_failure_is_given_back_with_a_delay_until_it_was_the_last() -> None:
    source = MemoryAcks(["a"], max_attempts=3)
    source.close()
    workers = FakeWorkers([ValueError(1), ValueError(2), ValueError(3)])
    retry = Retry(backoff=0.5, factor=2, jitter=0)
    async with WorkPool(workers, max_size=1, retry=retry) as pool:
        with pytest.raises(WorkFailed) as caught:
            await pool.process(source)
    assert source.record == [("nack", "a"), ("nack", "a"), ("reject", "a")]
    assert source.delays == [0.5, 1.0]
    assert source.reasons == ["ValueError(3)"]
    assert caught.value.failures[0].attempts == 3
    assert caught.value.summary.retried == 2


async def test_an_error_that_is_not_to_be_retried_is_final() -> None:
    source = MemoryAcks(["a"])
    source.close()
    async with WorkPool(FakeWorkers([KeyError()]), max_size=1, retry=Retry(on=ValueError)) as pool:
        with pytest.raises(WorkFailed):
            await pool.process(source)
    assert source.record == [("reject", "a")]


async def test_a_failure_that_will_come_again_is_no_failure_of_the_call() -> None:
    source = MemoryAcks(["a"])
    source.close()
    async with WorkPool(FakeWorkers([ValueError(), "fine"]), max_size=1) as pool:
        summary = await pool.process(source)
    assert (summary.succeeded, summary.failed, summary.retried) == (1, 0, 1)


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_stream_shows_one_outcome_for_each(ordered: bool) -> None:
    source = MemoryAcks("abc")
    source.close()
    workers = FakeWorkers([ValueError(), 2, 3, 4])
    async with WorkPool(workers, max_size=1) as pool, pool.stream(source, ordered=ordered) as outcomes:
        seen = [outcome.input async for outcome in outcomes]
    assert sorted(seen) == ["a", "b", "c"]
    assert source.counts() == {"nack": 1, "ack": 3}


async def test_leases_are_renewed_while_something_is_held() -> None:
    source = MemoryAcks(["a"], lease=0.06)
    source.close()
    go = anyio.Event()
    async with WorkPool(FakeWorkers([Hang(go)]), max_size=1) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.process, source)
        with anyio.fail_after(5):
            while source.renewals < 5:
                await anyio.sleep(0.005)
        go.set()
    assert source.record == [("ack", "a")]


async def test_a_lost_lease_cancels_its_task_and_settles_nothing() -> None:
    source = MemoryAcks("ab", lease=0.06)
    source.close()
    go = anyio.Event()
    workers = FakeWorkers([Hang(go), Hang(go)])  # whichever of the two gets which
    async with WorkPool(workers, min_size=2, max_size=2) as pool, pool.stream(source) as outcomes:
        await anyio.wait_all_tasks_blocked()
        source.stolen.add("a")
        with anyio.fail_after(5):
            while not pool.statistics().lost:
                await anyio.sleep(0.005)
        go.set()
        assert [outcome.input async for outcome in outcomes] == ["b"]
        assert outcomes.summary.lost == 1
    assert source.record == [("ack", "b")]


async def test_an_ack_that_comes_too_late_is_counted_never_raised() -> None:
    source = MemoryAcks(["a"])
    go = anyio.Event()
    async with WorkPool(FakeWorkers([Hang(go)]), max_size=1) as pool, pool.stream(source) as outcomes:
        await anyio.wait_all_tasks_blocked()
        source.held.clear()
        source.close()
        go.set()
        assert isinstance(await anext(outcomes), Success)
        assert outcomes.summary.lost == 1


async def test_a_broker_that_is_away_stops_neither_tasks_nor_pool() -> None:
    source = MemoryAcks("ab", lease=0.03)
    go = anyio.Event()
    async with WorkPool(FakeWorkers([Hang(go)]), max_size=1) as pool, pool.stream(source) as outcomes:
        await anyio.wait_all_tasks_blocked()
        source.broken = True
        before = source.renewals
        with anyio.fail_after(5):
            while source.renewals < before + 3:
                await anyio.sleep(0.005)
        go.set()
        assert (await anext(outcomes)).input == "a"
        source.broken = False
        assert (await anext(outcomes)).input == "b"
    assert source.record == [("ack", "b")]


@pytest.mark.stress
async def test_a_suspect_runs_alone() -> None:
    source = MemoryAcks(range(30))
    source.suspects = {7, 8, 20}
    source.close()
    running: set[int] = set()
    beside: dict[int, set[int]] = {}

    async def execute(x: int) -> int:
        running.add(x)
        for _ in range(3):
            await checkpoint()
            for one in running:
                beside.setdefault(one, set()).update(running - {one})
        running.discard(x)
        return x

    async with WorkPool(lambda: execute, max_size=4, min_size=4) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.process, range(100, 120))
        summary = await pool.process(source)
    assert summary.succeeded == 30
    assert all(beside[suspect] == set() for suspect in source.suspects)
    assert any(beside[x] for x in range(30) if x not in source.suspects), "others do run beside each other"


async def test_a_suspect_that_kills_its_worker_does_not_stop_the_pool() -> None:
    source = MemoryAcks("abc", max_attempts=2)
    source.suspects = {"b"}
    source.close()

    async def execute(x: str) -> str:
        if x == "b":
            raise ConnectionError("died")
        return x

    async with WorkPool(lambda: execute, max_size=2, retire=lambda _: True) as pool:
        with pytest.raises(WorkFailed) as caught:
            await pool.process(source)
    assert caught.value.summary.succeeded == 2
    assert source.counts() == {"ack": 2, "nack": 1, "reject": 1}


async def test_shutdown_lets_what_runs_finish_and_hands_back_the_rest() -> None:
    source = MemoryAcks(range(10))
    go = anyio.Event()
    async with WorkPool(FakeWorkers([Hang(go)] * 2), min_size=2, max_size=2) as pool:
        async with anyio.create_task_group() as group:
            group.start_soon(pool.process, source)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(pool.shutdown, 5)
            await anyio.wait_all_tasks_blocked()
            go.set()
    assert source.counts() == {"ack": 2}
    assert len(source.waiting) == 8


async def test_renewal_goes_on_while_the_pool_drains() -> None:
    source = MemoryAcks(["a"], lease=0.06)
    go = anyio.Event()
    async with WorkPool(FakeWorkers([Hang(go)]), max_size=1) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.process, source)
        await anyio.wait_all_tasks_blocked()
        pool.close(5)
        before = source.renewals
        with anyio.fail_after(5):
            while source.renewals < before + 3:
                await anyio.sleep(0.005)
        go.set()
    assert source.record == [("ack", "a")]


async def test_cancelling_the_call_hands_back_what_it_held() -> None:
    source = MemoryAcks(range(10))
    async with WorkPool(FakeWorkers([Hang] * 5), max_size=2) as pool:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(pool.process, source)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert source.held == set()
    assert sorted(value for value, _ in source.waiting) == list(range(10))


async def test_a_source_that_breaks_ends_the_call_after_what_it_gave() -> None:
    class Breaking(MemoryAcks):
        async def receive(self, max_items: int) -> Any:
            if not self.waiting:
                raise OSError("disk")
            return await super().receive(max_items)

    source = Breaking("abc")
    async with WorkPool(FakeWorkers(), max_size=2) as pool:
        with pytest.raises(OSError, match="disk"):
            await pool.process(source)
    assert source.counts() == {"ack": 3}


async def test_only_the_last_failure_is_shown_by_a_stream() -> None:
    source = MemoryAcks(["a"], max_attempts=2)
    source.close()
    async with WorkPool(FakeWorkers([ValueError(1), ValueError(2)]), max_size=1) as pool, pool.stream(source) as seen:
        outcomes = [outcome async for outcome in seen]
    assert [str(outcome.error) for outcome in outcomes if isinstance(outcome, Failure)] == ["2"]


async def test_an_error_that_cannot_be_shown_is_rejected_all_the_same() -> None:
    class Shy(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no")

    source = MemoryAcks([1, 2], max_attempts=1)
    source.close()
    async with WorkPool(FakeWorkers([Shy(), ValueError("x" * 10_000)]), max_size=1) as pool:
        await pool.process(source, on_failure=lambda _: None)
    assert source.counts() == {"reject": 2}
    assert "Shy" in source.reasons[0]
    assert len(source.reasons[1]) < 3000


@pytest.mark.parametrize("answer", ["none", "stranger"])
async def test_an_odd_answer_to_a_renewal_ends_nothing(answer: str) -> None:
    class Odd(MemoryAcks):
        async def renew(self, deliveries: Sequence[Any]) -> Any:
            renewed.set()
            return None if answer == "none" else [SimpleNamespace(id="nobody's")]

    renewed = anyio.Event()
    source = Odd([1], lease=0.03)

    async def execute(x: int) -> int:
        await renewed.wait()
        source.close()
        return x

    async with WorkPool(lambda: execute) as pool:
        summary = await pool.process(source)
    assert summary.succeeded == 1
    assert source.counts() == {"ack": 1}


async def test_a_foreign_cancellation_while_settling_is_an_error_like_others(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        return  # there nobody can raise one
    source = MemoryAcks([1, 2])
    settle = MemoryDelivery._settle

    async def leaky(self: MemoryDelivery, verb: str) -> bool:
        if self.value == 2:
            return await settle(self, verb)
        self.source.held.discard(self)
        task = asyncio.ensure_future(asyncio.sleep(60))
        await checkpoint()
        task.cancel()
        await task
        return True

    source.close()
    with anyio.fail_after(10), pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryDelivery, "_settle", leaky)
        async with WorkPool(FakeWorkers(), max_size=1) as pool:
            summary = await pool.process(source)
    assert (summary.succeeded, summary.lost) == (2, 1)
    assert source.counts() == {"ack": 1}


async def test_a_source_that_answers_with_nothing_at_once_leaves_others_their_turn() -> None:
    class Empty(MemoryAcks):
        async def receive(self, max_items: int) -> list[Any]:
            return []

    async with WorkPool(FakeWorkers()) as pool:
        with anyio.move_on_after(0.02) as scope:
            await pool.process(Empty([]))
    assert scope.cancelled_caught


async def test_a_lease_of_a_stranger_that_is_said_to_be_lost_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Confused(MemoryAcks):
        async def renew(self, held: Sequence[Any]) -> Any:
            renewed.set()
            return [SimpleNamespace(id="nobody's")]

    renewed, source = anyio.Event(), Confused(["a"], lease=0.03)
    source.close()
    async with WorkPool(FakeWorkers([Hang(renewed)]), max_size=1) as pool:
        with anyio.fail_after(5):
            await pool.process(source)
    assert 'not held here: namespace(id="nobody\'s")' in caplog.text


async def test_a_verb_that_returns_nothing_has_not_said_that_the_delivery_is_still_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nack = MemoryDelivery.nack

    async def silent(self: MemoryDelivery, delay: float = 0) -> None:
        await nack(self, delay)

    monkeypatch.setattr(MemoryDelivery, "nack", silent)
    source = MemoryAcks(["a"])
    source.close()
    with anyio.fail_after(5):
        async with WorkPool(FakeWorkers([ValueError(), "fine"]), max_size=1, destroy_timeout=1, grace=1) as pool:
            summary = await pool.process(source)
    assert (summary.succeeded, summary.retried, summary.lost) == (1, 0, 1)


async def test_one_whose_ack_is_too_late_counts_twice_and_one_whose_nack_is_counts_as_lost_alone() -> None:
    source = MemoryAcks("ab")
    go = anyio.Event()

    async def execute(x: str) -> None:
        await go.wait()
        if x == "b":
            raise ValueError

    async with WorkPool(lambda: execute, max_size=2) as pool, pool.stream(source) as outcomes:
        await anyio.wait_all_tasks_blocked()
        source.held.clear()
        source.close()
        go.set()
        assert [outcome.input async for outcome in outcomes] == ["a"]
        summary = outcomes.summary
    assert (summary.succeeded, summary.failed, summary.unfinished, summary.retried, summary.lost) == (1, 0, 0, 0, 2)


@pytest.mark.parametrize("verb", ["nack", "renew"])
async def test_a_foreign_cancellation_of_other_verbs_is_an_error_like_others(
    verb: str, anyio_backend_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def leak(*_: Any) -> Any:
        seen.set()
        if anyio_backend_name == "trio":
            raise ConnectionError  # there nobody can raise a foreign one
        task = asyncio.ensure_future(asyncio.sleep(60))
        task.cancel()
        await task

    seen, source = anyio.Event(), MemoryAcks(["a"], lease=0.03)
    source.close()
    with anyio.fail_after(5), pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryDelivery if verb == "nack" else MemoryAcks, verb, leak)
        workers = FakeWorkers([ValueError() if verb == "nack" else Hang(seen)])
        async with WorkPool(workers, max_size=1) as pool, anyio.create_task_group() as group:
            group.start_soon(pool.process, source)
            await seen.wait()
            await anyio.wait_all_tasks_blocked()
            pool.close(0)
    assert "could not be" in caplog.text
    assert pool.statistics().lost == (verb == "nack")


@pytest.mark.parametrize(
    ("lease", "error"),
    [(None, None), (..., TypeError), ("30", TypeError), (0, ValueError), (-1, ValueError), (math.nan, ValueError)],
)
async def test_a_source_with_a_bad_lease_ends_its_call_and_not_the_pool(lease: Any, error: Any) -> None:
    source = MemoryAcks(["a"])
    source.lease = lease
    if lease is ...:
        del source.lease
    source.close()
    with anyio.fail_after(5):
        async with WorkPool(FakeWorkers()) as pool:
            if error is None:
                await pool.process(source)
            else:
                with pytest.raises(error, match="lease"):
                    await pool.process(source)
                with pytest.raises(error, match="lease"):
                    async with pool.stream(source):
                        pass
            assert await pool.execute("b") == "b"


@pytest.mark.stress
async def test_calls_do_not_take_deliveries_for_the_slots_that_others_take_for() -> None:
    sources = [MemoryAcks(range(10 * i, 10 * i + 10)) for i in range(3)]
    go = anyio.Event()

    async def execute(x: int) -> int:
        await go.wait()
        return x

    with anyio.fail_after(10):
        async with WorkPool(lambda: execute, max_size=4) as pool, anyio.create_task_group() as group:
            for source in sources:
                group.start_soon(pool.process, source)
            for _ in range(100):
                await checkpoint()
            held = [len(source.held) for source in sources]
            assert pool.statistics().running == 4
            assert all(held), "each has its turn"
            # The first takes one for each slot. The others may get those slots, but for one, and are one ahead then.
            assert sum(held) <= 4 + 3 + 2, "and not 3 * 4"
            for source in sources:
                source.close()
            go.set()
    assert all(source.counts() == {"ack": 10} for source in sources)


@pytest.mark.stress
async def test_a_call_whose_source_has_nothing_leaves_the_slots_to_others() -> None:
    empty, full = MemoryAcks([]), MemoryAcks(range(10))
    asked = anyio.Event()

    async def receive(wanted: int) -> Any:
        asked.set()
        await anyio.sleep_forever()

    empty.receive = receive  # type: ignore[method-assign]
    with anyio.fail_after(10):
        async with WorkPool(FakeWorkers(), max_size=4) as pool, anyio.create_task_group() as group:
            group.start_soon(pool.process, empty)
            await asked.wait()
            full.close()
            assert (await pool.process(full)).succeeded == 10
            group.cancel_scope.cancel()
