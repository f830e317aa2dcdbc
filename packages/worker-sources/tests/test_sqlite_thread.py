"""The one thread in which a SqliteSource works: what it does for whom, and what becomes of them when it ends."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import fail_after, wait_all_tasks_blocked

from worker_sources import SourceClosed, SqliteSource
from worker_sources._sqlite_call import Call
from worker_sources._sqlite_thread import StoreThread

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.anyio


class Quit(BaseException):
    pass


async def test_everything_happens_in_one_thread_that_ends_with_the_block(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    seen: set[threading.Thread] = set()
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(source._call, lambda store, now: seen.add(threading.current_thread()))
        (ours,) = seen
        assert ours not in before
    assert not ours.is_alive()


async def test_a_poll_may_be_never(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db", poll=math.inf) as source, anyio.create_task_group() as group:
        group.start_soon(source.receive)
        await wait_all_tasks_blocked()
        with fail_after(5):
            await source.put(1)


@pytest.mark.parametrize("error", [SystemExit, Quit])
async def test_whatever_decoding_raises_reaches_who_receives(error: type[BaseException], tmp_path: Path) -> None:
    def loads(body: bytes) -> object:
        if body == b'"bad"':
            raise error
        return body

    with fail_after(5):
        async with SqliteSource[object](tmp_path / "jobs.db", loads=loads) as source:
            await source.put("bad")
            with pytest.raises(error):
                await source.receive()
            assert (await source.statistics()).ready == 1  # it was not taken
            with pytest.raises(error):
                await source.receive()


async def test_nobody_waits_for_a_thread_that_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died, told = list[type[BaseException] | None](), list[str]()
    monkeypatch.setattr("threading.excepthook", lambda args: died.append(args.exc_type))

    def quit(*_: object) -> None:
        raise Quit

    async def wait() -> None:
        with pytest.raises(SourceClosed, match=r"has died: Quit\(\)"):
            await source.receive()
        told.append("told")

    with fail_after(5):
        async with SqliteSource[int](tmp_path / "jobs.db") as source:
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(wait)
                await wait_all_tasks_blocked()
                monkeypatch.setattr(StoreThread, "_execute", quit)
                group.start_soon(wait)
            for call in (source.put(1), source.receive(), source.statistics()):
                with pytest.raises(SourceClosed, match="has died"):
                    await call
    assert told == ["told"] * 4
    assert died == [Quit]


def test_a_thread_whose_loop_is_closed_with_its_answer_ends_and_closes_its_file(tmp_path: Path) -> None:
    gate, handed_over = threading.Event(), threading.Event()

    class Loop(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:
            handle = super().call_soon_threadsafe(*args, **kwargs)
            if gate.is_set():
                handed_over.set()
            return handle

    async def begin() -> StoreThread:
        source = SqliteSource[int](tmp_path / "jobs.db")
        thread = StoreThread(source.path, source._open, 0.1)
        await thread.start()
        thread.submit(Call(lambda store, now: gate.wait()))
        return thread

    loop = Loop()
    thread = loop.run_until_complete(begin())
    gate.set()
    assert handed_over.wait(5)
    loop.close()
    thread._thread.join(5)
    assert not thread._thread.is_alive()


IN_A_FORK = """
import os, sys, threading, anyio
from worker_sources import SqliteSource, StorageError
from worker_sources._sqlite_thread import StoreThread

path, backend = sys.argv[1:]
done = threading.Event()

async def in_the_child(source):
    source.close()
    await source.aclose()
    try:
        await SqliteSource(path).__aenter__()
    except StorageError as error:
        assert "was forked" in str(error)
        async with SqliteSource(path + "2") as another:
            await another.put("from the child")
        done.set()

async def main():
    async with SqliteSource(path, poll=0.01) as source:
        await source.put("from the parent")
        with StoreThread._registry:  # as any thread of the parent may at this moment
            child = os.fork()
        if child == 0:
            assert not StoreThread._everyone
            threading.Thread(target=anyio.run, args=[in_the_child, source], kwargs={"backend": backend}).start()
            os._exit(0 if done.wait(10) else 1)
        assert os.waitpid(child, 0)[1] == 0
        async with SqliteSource(path + "2") as of_the_child:
            print([(await anext(each)).value for each in (source, of_the_child)])

anyio.run(main, backend=backend)
"""


def test_a_fork_closes_what_is_not_its_own_at_once_and_opens_other_files(
    tmp_path: Path, anyio_backend_name: str
) -> None:
    program = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", IN_A_FORK]
    done = subprocess.run([*program, tmp_path / "jobs.db", anyio_backend_name], capture_output=True, timeout=30)
    assert done.stdout == b"['from the parent', 'from the child']\n", done.stderr.decode()


def test_it_may_be_left_in_another_event_loop(tmp_path: Path, anyio_backend_name: str) -> None:
    source = SqliteSource[int](tmp_path / "jobs.db")

    async def enter() -> None:
        await source.__aenter__()
        await source.put(1)

    async def leave() -> None:
        with fail_after(10):
            await source.aclose()

    anyio.run(enter, backend=anyio_backend_name)
    anyio.run(leave, backend=anyio_backend_name)


async def test_another_source_of_this_process_is_woken_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqliteSource[int](path, poll=60) as consumer, SqliteSource[int](path, poll=60) as producer:
        for value in range(20):
            got: list[int] = []

            async def consume(into: list[int] = got) -> None:
                (delivery,) = await consumer.receive()
                await delivery.ack()
                into.append(delivery.value)

            with fail_after(5):
                async with anyio.create_task_group() as group:
                    group.start_soon(consume)
                    await producer.put(value)
            assert got == [value]


async def test_calls_that_pile_up_share_a_transaction(tmp_path: Path) -> None:
    async with SqliteSource[int](tmp_path / "jobs.db") as source:
        await source.put_many(range(100))
        deliveries = await source.receive(100)
        commits: list[str] = []
        await source._call(lambda store, now: store.connection.set_trace_callback(commits.append))
        async with anyio.create_task_group() as group:
            for delivery in deliveries:
                group.start_soon(delivery.ack)
        assert sum(statement == "COMMIT" for statement in commits) < 50
        assert (await source.statistics()).leased == 0
