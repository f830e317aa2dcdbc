"""SqliteSource beyond the contract: its thread, its transactions, its values, its dead letters."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import EndOfStream, fail_after, wait_all_tasks_blocked

from worker_sources import DeadLetter, EncodeError, SourceClosed, SqliteSource, SqliteStatistics
from worker_testkit import sweep_cancellation

if TYPE_CHECKING:
    from pathlib import Path

    from worker_sources._sqlite_store import Store
    from worker_testkit import Cut

pytestmark = pytest.mark.anyio


async def drain(source: SqliteSource[Any]) -> list[Any]:
    source.close()
    values = []
    async for delivery in source:
        async with delivery as value:
            values.append(value)
    return values


# --- values


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 2**80, 1.5, "", "ü\u2028\0🎉", [], {}, {"a": [1, {"b": None}]}, "x" * 100_000],
    ids=lambda value: repr(value)[:20],
)
async def test_what_json_gives_back_equal_is_what_comes_back(value: object, tmp_path: Path) -> None:
    async with SqliteSource[object](tmp_path / "jobs.db") as source:
        await source.put(value)
        assert await drain(source) == [value]


CYCLE: list[object] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [(1, 2), {1: 2}, {"a": (1,)}, math.nan, math.inf, [math.nan], object(), b"x", {1}, "\ud800", 10**5000, CYCLE],
    ids=lambda value: type(value).__name__,
)
async def test_what_would_come_back_as_something_else_is_refused_at_the_call(value: object, tmp_path: Path) -> None:
    async with SqliteSource[object](tmp_path / "jobs.db") as source:
        with pytest.raises(EncodeError):
            await source.put(value)
        with pytest.raises(EncodeError):
            await source.put_many(["good", value])
        assert await drain(source) == []


async def test_another_encoding_may_be_chosen_and_what_it_cannot_decode_is_a_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqliteSource[object](path) as source:
        await source.put("seven")
        await source.put(8)
    async with SqliteSource[int](path, dumps=lambda n: str(n).encode(), loads=int) as source:
        await source.put(9)
        assert await drain(source) == [8, 9]
        (letter,) = await source.dead.list()
        assert (letter.body, letter.attempt) == (b'"seven"', 1)
        assert "cannot be decoded" in letter.reason
        with pytest.raises(ValueError, match="seven"):
            letter.value  # noqa: B018  # decoding it is what raises


# --- keys


async def test_a_key_in_the_queue_is_not_put_again_until_its_job_is_done(tmp_path: Path) -> None:
    async with SqliteSource[str](tmp_path / "jobs.db") as source:
        first = await source.put("a", key="k")
        assert await source.put("b", key="k") == first
        assert await source.put("c") != await source.put("c")
        (delivery,) = await source.receive()
        assert await source.put("d", key="k") == first  # it is still running
        await delivery.ack()
        assert await source.put("e", key="k") != first
        assert await drain(source) == ["c", "c", "e"]


async def test_putting_many_again_is_harmless(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        assert await source.put_many(range(120), key=str) == 120
        assert await source.put_many(range(130), key=str) == 10
        assert await source.put_many([]) == 0
        assert await drain(source) == list(range(130))


async def test_queues_of_one_file_do_not_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqliteSource[int](path, "a") as a, SqliteSource[int](path, "b") as b:
        await a.put(1, key="same")
        await b.put(2, key="same")
        assert (await a.statistics()).ready == (await b.statistics()).ready == 1
        assert await drain(a) == [1]
        assert await drain(b) == [2]


# --- dead letters


async def bury(source: SqliteSource[int], *values: int) -> None:
    for value in values:
        await source.put(value, key=str(value))
    for delivery in await source.receive(len(values)):
        assert await delivery.reject(f"reason {delivery.value}")


async def test_dead_letters_can_be_listed_in_pages(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        await bury(source, 1, 2, 3)
        page = await source.dead.list(2)
        assert [(letter.value, letter.reason, letter.attempt) for letter in page] == [
            (1, "reason 1", 1),
            (2, "reason 2", 1),
        ]
        assert all(isinstance(letter, DeadLetter) and letter.died_at > 1e9 for letter in page)
        assert [letter.value for letter in await source.dead.list(2, after=page[-1].id)] == [3]
        assert await source.dead.count() == (await source.statistics()).dead == 3


async def test_a_requeued_letter_has_its_id_and_begins_anew(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        await bury(source, 1, 2)
        first, second = await source.dead.list()
        assert await source.dead.requeue(first.id) == 1
        assert await source.dead.requeue(first.id) == 0
        (delivery,) = await source.receive()
        assert (delivery.id, delivery.value, delivery.attempt) == (first.id, 1, 1)
        assert await source.put(2, key="2") != second.id
        assert await source.dead.requeue() == 0  # its key is in the queue again
        assert await source.dead.purge(second.id) == 1
        assert await source.dead.count() == 0


async def test_a_requeued_letter_is_at_the_end_of_a_batch(tmp_path: Path, clock: Any) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        await bury(source, 1)
        await source.put(2)
        clock.advance(1)
        await source.dead.requeue()
        await source.put(3)
        assert [delivery.value for delivery in await source.receive(3)] == [2, 1, 3]


async def test_requeue_wakes_who_waits(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db", poll=60) as source, anyio.create_task_group() as group:
        await bury(source, 1)
        group.start_soon(drain, source)
        await wait_all_tasks_blocked()
        with fail_after(5):
            await source.dead.requeue()


async def test_purging_all_leaves_the_jobs(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        await bury(source, 1, 2)
        await source.put(3)
        assert await source.dead.purge() == 2
        assert await source.dead.list() == []
        assert await drain(source) == [3]


async def test_a_letter_says_how_often_its_holders_died(tmp_path: Path, clock: Any) -> None:
    for attempts, reason in ((1, "its holder died"), (3, "its holders died 3 times")):
        async with SqliteSource[int](tmp_path / "jobs.db", str(attempts), max_attempts=attempts, lease=10) as source:
            await source.put(1)
            for _ in range(attempts):
                assert len(await source.receive()) == 1
                clock.advance(10)
            source.close()
            with pytest.raises(EndOfStream):
                await source.receive()
            (letter,) = await source.dead.list()
            assert letter.reason == reason


async def test_a_job_whose_lease_has_ended_is_ready_not_leased(tmp_path: Path, clock: Any) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db", lease=10) as source:
        await source.put(1)
        await source.put(2)
        await source.put(3, delay=30)
        await source.receive()
        assert await source.statistics() == SqliteStatistics(ready=1, waiting=1, leased=1, dead=0)
        clock.advance(10)
        assert await source.statistics() == SqliteStatistics(ready=2, waiting=1, leased=0, dead=0)


# --- the delivery as a context


async def test_the_block_settles_by_how_it_ends(tmp_path: Path) -> None:
    async with SqliteSource[str](tmp_path / "jobs.db", lease=60) as source:
        await source.put("x")
        (delivery,) = await source.receive()

        async def fail() -> None:
            async with delivery:
                raise LookupError

        with pytest.raises(LookupError):
            await fail()
        (delivery,) = await source.receive()
        assert delivery.attempt == 2
        with anyio.CancelScope() as scope:
            async with delivery:
                scope.cancel()
                await anyio.sleep_forever()
        (delivery,) = await source.receive()
        assert delivery.attempt == 2
        async with delivery as value:
            assert value == "x"
        source.close()
        with pytest.raises(EndOfStream):
            await source.receive()


# --- waking


PUT = """
import sys, anyio
from worker_sources import SqliteSource

async def put():
    async with SqliteSource(sys.argv[1]) as source:
        await source.put("from afar")

anyio.run(put)
"""


async def test_another_process_is_noticed_by_the_poll(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqliteSource[str](path) as source, anyio.create_task_group() as group:
        group.start_soon(anyio.run_process, [sys.executable, "-c", PUT, str(path)])
        with fail_after(20):
            assert (await source.receive())[0].value == "from afar"


async def test_waiting_receives_are_served_in_order(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        got: list[tuple[str, int]] = []

        async def one(name: str) -> None:
            got.append((name, (await source.receive())[0].value))

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(one, name)
                await wait_all_tasks_blocked()
            await source.put_many([1, 2, 3])
    assert sorted(got) == [("a", 1), ("b", 2), ("c", 3)]


# --- one thread, few transactions


async def test_a_claim_that_waits_for_a_suspect_to_end_sleeps(tmp_path: Path) -> None:
    """There is a job that is due, and nobody may have it: to look again and again would find nothing new."""
    looks: list[str] = []
    got: list[str] = []

    def prepare(store: Store, now: int) -> None:
        store.connection.execute("UPDATE job SET suspect = 1 WHERE id = 1")
        store.connection.set_trace_callback(lambda text: looks.append(text) if text.startswith("BEGIN") else None)

    async with SqliteSource[str](tmp_path / "jobs.db", poll=60) as source, anyio.create_task_group() as group:
        await source.put_many(["suspect", "next"])
        await source._call(prepare)
        (suspect,) = await source.receive(2)
        assert suspect.isolate

        async def receive() -> None:
            (delivery,) = await source.receive()
            got.append(delivery.value)

        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        await source.statistics()  # the claim before it has been tried
        seen = len(looks)
        await anyio.sleep(0.1)  # not a synchronisation: long enough for many more, if it does not sleep
        assert len(looks) - seen <= 1
        assert not got
        with anyio.fail_after(5):
            await suspect.ack()
            while not got:
                await anyio.lowlevel.checkpoint()
    assert got == ["next"]


# --- closing


async def test_before_its_block_it_wants_to_be_entered_and_after_it_it_is_closed(tmp_path: Path) -> None:
    source = SqliteSource[int](tmp_path / "jobs.db")
    for call in (source.put(1), source.put_many([1]), source.receive(), source.statistics(), anext(source)):
        with pytest.raises(RuntimeError, match="enter the source first: async with SqliteSource"):
            await call
    async with source:
        await source.put(1)
        (delivery,) = await source.receive()
    for call in (source.put(1), source.put_many([1]), source.receive(), delivery.ack(), source.renew([delivery])):
        with pytest.raises(SourceClosed):
            await call
    await source.aclose()
    with pytest.raises(RuntimeError, match="entered once"):
        await source.__aenter__()


@pytest.mark.fault("99c")
async def test_leaving_tells_everybody_who_waits(tmp_path: Path) -> None:
    told: list[str] = []

    async def wait(source: SqliteSource[int]) -> None:
        with pytest.raises(SourceClosed):
            await source.receive()
        told.append("told")

    with fail_after(5):
        async with anyio.create_task_group() as group:
            async with SqliteSource[int](tmp_path / "jobs.db") as source:
                for _ in range(10):
                    group.start_soon(wait, source)
                await wait_all_tasks_blocked()
    assert told == ["told"] * 10


async def test_a_fork_does_not_share_the_connection(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        pid = os.getpid()
        source._pid = pid + 1  # as it looks from a fork
        with pytest.raises(SourceClosed, match="not open here"):
            await source.put(1)
        source._pid = pid


async def test_the_error_of_the_block_leaves_bare(tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        async with SqliteSource[int](tmp_path / "jobs.db"):
            raise LookupError


def test_options_are_checked(tmp_path: Path) -> None:
    for wrong in ({"lease": 0}, {"max_attempts": 0}, {"poll": -1}, {"synchronous": "OFF"}):
        with pytest.raises(ValueError, match="must be"):
            SqliteSource[int](tmp_path / "jobs.db", **wrong)  # type: ignore[arg-type]


async def test_synchronous_full_is_what_sqlite_uses(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db", synchronous="FULL") as source:
        assert await source._call(lambda store, now: store.connection.execute("PRAGMA synchronous").fetchone()) == (2,)


# --- cancellation


@pytest.mark.fault(96)
async def test_cancelled_anywhere_a_call_has_either_happened_or_not(tmp_path: Path) -> None:
    """Put, receive and settle are cut at each of their suspensions; the file must agree with what the caller knows."""
    path = tmp_path / "jobs.db"
    known: dict[str, str] = {}

    async with SqliteSource[str](path, lease=3600) as watcher:

        async def body() -> None:
            known.clear()
            async with SqliteSource[str](path, lease=3600) as source:
                for verb in ("ack", "nack", "hand_back", "reject"):
                    known[verb] = "absent"
                    await source.put(verb)
                    known[verb] = "ready"
                    (delivery,) = await source.receive()
                    known[verb] = "held"
                    await getattr(delivery, verb)(*["why"] * (verb == "reject"))
                    known[verb] = "settled"
                    if verb in ("nack", "hand_back"):
                        (delivery,) = await source.receive()
                        known[verb] = "held again"
                        await delivery.ack()
                        known[verb] = "done"

        async def check(_: Cut[None]) -> None:
            rows = await watcher._call(
                lambda store, now: store.connection.execute("SELECT body, owner FROM job").fetchall()
            )
            dead = await watcher.dead.count()
            found = {body.decode().strip('"'): owner is not None for body, owner in rows}
            expected: dict[str, bool] = {}
            for verb, state in known.items():
                if state in ("ready", "held", "held again") or (state, verb) in UNSETTLED:
                    expected[verb] = state.startswith("held")
            assert found == expected
            assert dead == (known.get("reject") == "settled")
            await watcher._call(lambda store, now: store.connection.execute("DELETE FROM job"))
            await watcher.dead.purge()

        await sweep_cancellation(body, check=check)


UNSETTLED = {("settled", "nack"), ("settled", "hand_back")}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_bare_task_cancel_of_asyncio_gives_back_what_was_claimed(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        for _ in range(20):
            await source.put(1)
            task = asyncio.create_task(source.receive())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            (delivery,) = await source.receive()
            assert delivery.attempt == 1
            await delivery.ack()


@pytest.mark.stress
async def test_receives_cancelled_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        await source.put_many(range(100))
        got: list[int] = []

        async def consume(patience: float) -> None:
            while len(got) < 100:
                with anyio.move_on_after(patience):
                    for delivery in await source.receive(3):
                        assert delivery.attempt == 1
                        got.append(delivery.value)
                        with anyio.CancelScope(shield=True):
                            assert await delivery.ack()

        with fail_after(20):
            async with anyio.create_task_group() as group:
                for patience in (0.0005, 0.001, 0.002, 0.01):
                    group.start_soon(consume, patience)
    assert sorted(got) == list(range(100))


# --- speed that must not depend on the length of the queue


async def test_claiming_uses_an_index_whatever_the_length(tmp_path: Path) -> None:
    from worker_sources import _sqlite_store as store

    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        await source.put_many(range(2000))
    connection = sqlite3.connect(tmp_path / "jobs.db")
    values = {"queue": "default", "now": 1, "until": 2, "limit": 16, "owner": "me", "id": 1}
    plans = [
        connection.execute("EXPLAIN QUERY PLAN " + store.READY, values).fetchall(),
        connection.execute("EXPLAIN QUERY PLAN " + store.CLAIM_READY, values).fetchall(),
        connection.execute("EXPLAIN QUERY PLAN " + store.EXPIRED, ("default", 1)).fetchall(),
        connection.execute("EXPLAIN QUERY PLAN " + store.SUSPECTS, ("default",)).fetchall(),
        connection.execute("EXPLAIN QUERY PLAN " + store.HOLDS, ("default", 1, "me")).fetchall(),
        connection.execute("EXPLAIN QUERY PLAN " + store.DUE, ("default",)).fetchall(),
        connection.execute("EXPLAIN QUERY PLAN " + store.ACK, (1, "me", 1)).fetchall(),
    ]
    connection.close()
    for plan in plans:
        steps = [step[3] for step in plan]
        assert not any(step.startswith("SCAN") or "TEMP B-TREE" in step for step in steps), steps
