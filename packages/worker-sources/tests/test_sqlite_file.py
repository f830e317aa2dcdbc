"""Files that are not what they should be, disks that are full, locks that are kept: a named error, nothing lost."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after

from worker_sources import (
    CorruptFile,
    DatabaseLocked,
    Delivery,
    DiskFull,
    ForeignFile,
    SqliteSource,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.anyio


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def a_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious(x)")
    connection.commit()
    connection.close()


def a_wal_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE job(x)")
    connection.commit()
    connection.close()


def an_other_application(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA application_id = 42; PRAGMA user_version = 1; CREATE TABLE t(x);")
    connection.close()


def a_text(path: Path) -> None:
    path.write_text("Dear diary,\n" * 100)


def a_short_text(path: Path) -> None:
    path.write_text("hi")


async def a_newer_version(path: Path) -> None:
    async with SqliteSource[int](path) as source:
        await source.put(1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.mark.parametrize("make", [a_database, a_wal_database, an_other_application, a_text, a_short_text])
async def test_a_foreign_file_is_refused_and_not_touched(make: object, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    make(path)  # type: ignore[operator]
    before = contents(tmp_path)
    source = SqliteSource[int](path)
    with pytest.raises(ForeignFile) as caught:
        await source.__aenter__()
    assert caught.value.path == str(path)
    assert contents(tmp_path) == before
    with pytest.raises(RuntimeError, match="enter the source first"):
        await source.put(1)


async def test_a_file_of_a_newer_version_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await a_newer_version(path)
    before = contents(tmp_path)
    with pytest.raises(ForeignFile, match="version 2"):
        await SqliteSource[int](path).__aenter__()
    assert contents(tmp_path) == before


async def test_an_empty_file_becomes_a_queue(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.touch()
    async with SqliteSource[int](path) as source:
        await source.put(1)
        assert (await source.receive())[0].value == 1


@pytest.mark.parametrize("name", ["missing/jobs.db", "."])
async def test_a_path_that_cannot_be_opened_is_a_storage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError) as caught:
        await SqliteSource[int](tmp_path / name).__aenter__()
    assert caught.value.__cause__ is not None


async def test_a_damaged_file_is_named_and_left_for_recovery(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqliteSource[str](path) as source:
        await source.put_many(["x" * 200] * 500)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    async with SqliteSource[str](path) as source:
        with fail_after(5), pytest.raises(CorruptFile):
            await source.receive()
        with pytest.raises(CorruptFile):
            await source.put("y")
    assert path.stat().st_size == size


async def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqliteSource[str](path) as source:
        await source.put_many(["x" * 200] * 500)
    os.truncate(path, 4096 * 3)
    with fail_after(5), pytest.raises(CorruptFile):
        await SqliteSource[str](path).__aenter__()


async def test_a_locked_database_is_waited_for_then_named_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqliteSource[int](path, busy_timeout=0.1) as source:
        await source.put(1)
        (delivery,) = await source.receive()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with fail_after(5):
            with pytest.raises(DatabaseLocked):
                await source.put(2)
            with pytest.raises(DatabaseLocked):
                await delivery.ack()
            with pytest.raises(DatabaseLocked):
                await source.receive()
        other.execute("ROLLBACK")
        other.close()
        assert await delivery.ack()  # it was still ours to settle
        await source.put(3)
        assert (await source.receive())[0].value == 3


async def test_calls_that_wait_for_a_locked_database_are_told_together(tmp_path: Path) -> None:
    """Not one after the other: each would wait for `busy_timeout` again, and the end of a pool as often."""
    path, told = tmp_path / "jobs.db", list[DatabaseLocked]()
    async with SqliteSource[int](path, busy_timeout=0.5) as source:
        await source.put_many(range(40))
        deliveries = await source.receive(40)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        async def settle(one: Delivery[int]) -> None:
            with pytest.raises(DatabaseLocked) as caught:
                await one.ack()
            told.append(caught.value)

        with fail_after(10):  # twice `busy_timeout`, not forty times
            async with anyio.create_task_group() as group:
                for one in deliveries:
                    group.start_soon(settle, one)
        other.execute("ROLLBACK")
        other.close()
        assert len(set(map(id, told))) == 40
        assert all([await one.ack() for one in deliveries])


async def test_a_lock_that_is_released_in_time_is_not_noticed(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqliteSource[int](path, busy_timeout=5) as source, anyio.create_task_group() as group:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        group.start_soon(source.put, 1)
        await anyio.wait_all_tasks_blocked()
        other.execute("ROLLBACK")
        other.close()
        with fail_after(5):
            assert (await source.receive())[0].value == 1


async def test_a_lease_begins_when_the_file_is_ours_not_when_we_began_to_wait_for_it(
    tmp_path: Path, clock: Any
) -> None:
    seconds = list[int]()

    def wait_for_the_file(statement: str) -> None:
        if statement.startswith("BEGIN") and seconds:
            clock.ms += seconds.pop() * 1000

    async with SqliteSource[int](tmp_path / "jobs.db", lease=10) as source:
        await source._call(lambda store, now: store.connection.set_trace_callback(wait_for_the_file))
        await source.put_many([1, 2])
        seconds.append(20)
        (held,) = await source.receive()
        (other,) = await source.receive()
        assert other.value == 2
        await other.ack()
        seconds.append(20)
        assert await source.renew([held]) == []
        await source.put(3)
        assert (await anext(source)).value == 3
        assert await held.ack()


async def test_opening_waits_for_a_lock_and_then_names_it(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseLocked):
        await SqliteSource[int](path, busy_timeout=0.1).__aenter__()
    other.close()


async def test_a_full_disk_is_named_changes_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqliteSource[str](path) as source:
        await source.put("small")
        thread = source._thread
        assert thread is not None
        limit = "PRAGMA max_page_count = {}".format
        await source._call(lambda store, now: store.connection.execute(limit(20)).fetchall())
        with pytest.raises(DiskFull):
            await source.put_many(["x" * 2000] * 200)
        statistics = await source.statistics()
        assert statistics.ready == 1
        (delivery,) = await source.receive()
        assert await delivery.ack()
        await source._call(lambda store, now: store.connection.execute(limit(10_000)).fetchall())
        assert await source.put_many(["x" * 2000] * 200) == 200


async def test_one_call_that_fails_does_not_fail_those_of_the_same_transaction(tmp_path: Path) -> None:
    async with SqliteSource[str](tmp_path / "jobs.db") as source:
        limit = "PRAGMA max_page_count = {}".format
        await source._call(lambda store, now: store.connection.execute(limit(30)).fetchall())
        outcomes: list[str] = []

        async def put(count: int) -> None:
            try:
                await source.put_many(["x" * 2000] * count)
                outcomes.append(f"{count} put")
            except DiskFull:
                outcomes.append(f"{count} refused")

        async with anyio.create_task_group() as group:
            for count in (1, 200, 2):
                group.start_soon(put, count)
        assert sorted(outcomes) == ["1 put", "2 put", "200 refused"]
        assert (await source.statistics()).ready == 3


LIMITED = """
import resource, sys, anyio
from worker_sources import SqliteSource, StorageError

async def main():
    async with SqliteSource(sys.argv[1]) as source:
        await source.put("before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        try:
            for _ in range(1000):
                await source.put_many(["x" * 2000] * 50)
        except StorageError as error:
            print(type(error).__name__, flush=True)
        (delivery,) = await source.receive()
        print(delivery.value)

anyio.run(main)
"""


async def test_a_limit_on_the_size_of_files_is_a_storage_error_and_what_was_committed_stays(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    process = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, timeout=30)
    assert process.stdout.split() in (["StorageError", "before"], ["DiskFull", "before"]), process.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    async with SqliteSource[str](path, lease=0.001) as source:
        statistics = await source.statistics()
        assert statistics.ready + statistics.leased >= 1


PUT_ONE = """
import sys, anyio
from worker_sources import SqliteSource

async def main():
    sys.stdin.read()  # until the test lets all go at once
    async with SqliteSource(sys.argv[1]) as source:
        await source.put(int(sys.argv[2]))

anyio.run(main)
"""


@contextmanager
def processes_that_put(path: Path, count: int) -> Generator[list[subprocess.Popen[bytes]]]:
    command = [sys.executable, "-c", PUT_ONE, str(path)]
    processes = [subprocess.Popen([*command, str(i)], stdin=subprocess.PIPE) for i in range(count)]
    try:
        yield processes
    finally:
        let_go(processes)
        for process in processes:
            process.kill()
            process.wait()


def let_go(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()


async def everything_in(path: Path) -> list[object]:
    values: list[object] = []
    async with SqliteSource[object](path) as source:
        source.close()
        async for delivery in source:
            async with delivery as value:
                values.append(value)
    return values


@pytest.mark.stress
async def test_processes_that_create_the_file_at_the_same_time_share_it(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with processes_that_put(path, 4) as processes:
        let_go(processes)
        assert [process.wait(30) for process in processes] == [0] * 4
    assert sorted(await everything_in(path), key=str) == [0, 1, 2, 3]


async def test_a_second_source_in_this_process_does_not_drop_the_locks_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with processes_that_put(path, 1) as (process,):
        await share(path, process)
    assert sorted(await everything_in(path), key=str) == [0, 10, 11, 12, 9]


async def share(path: Path, process: subprocess.Popen[bytes]) -> None:
    async with SqliteSource[int](path) as first:
        await first.put(9)  # SQLite takes its locks with the first use
        async with SqliteSource[int](path) as second:  # opening and closing it must leave the first one's locks alone
            await second.put(10)
        await first.put(11)
        let_go([process])
        assert process.wait(30) == 0  # it closes the file; were it the last one, it would remove the log
        await first.put(12)
        assert path.with_name("jobs.db-wal").exists()


async def test_a_producer_killed_while_it_creates_the_file_leaves_one_that_opens(tmp_path: Path) -> None:
    for moment in range(4):
        path = tmp_path / f"{moment}.db"
        with processes_that_put(path, 1) as (process,):
            let_go([process])
            with fail_after(20):
                while not path.exists():  # another process makes it: nothing here can tell us
                    await anyio.sleep(0.001)
            await anyio.sleep(0.002 * moment)  # not a synchronisation: another moment of its start each time
            process.send_signal(signal.SIGKILL)
            process.wait()
        async with SqliteSource[int](path) as source:
            await source.put(1)
            assert 1 in [delivery.value for delivery in await source.receive(2)]


async def test_a_path_that_is_no_utf8_can_be_opened_again(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 %41?#")
    os.mkdir(folder)
    for count in (1, 2):
        async with SqliteSource[int](f"{folder}/jobs.db") as source:
            await source.put(count)
            assert (await source.statistics()).ready == count
