"""A. Starting: a child that never becomes ready ends the wait for it, at once or at the limit; never the parent."""

import errno
import os
import signal
import sys

import anyio
import pytest

from worker_ipc import ChannelClosed, ParentChannel, SpawnError, open_child
from worker_pool import WorkPool
from worker_spawn import spawned_worker
from worker_testkit import answer, descriptors, evil, exit_with, read, serve, step, write

pytestmark = pytest.mark.anyio

READY = '{"type":"ready"}\n'


async def send_for_ever(channel: ParentChannel) -> None:
    while True:
        await channel.send("anything", {"data": "x" * 1000})


async def died(pid: int) -> None:
    """Wait until a process has ended."""
    handle = os.pidfd_open(pid)
    try:
        await anyio.wait_readable(handle)
    finally:
        os.close(handle)


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    ("command", "options", "error"),
    [
        (["/no/such/program"], {}, errno.ENOENT),
        ([__file__], {}, errno.EACCES),
        ([sys.executable], {"cwd": "/no/such/directory"}, errno.ENOENT),
    ],
    ids=["missing", "not executable", "no directory"],
)
async def test_what_cannot_be_started_says_why_and_leaves_nothing(
    command: list[str], options: dict, error: type
) -> None:
    before = descriptors()
    with pytest.raises(SpawnError) as caught:
        async with open_child(command, **options):
            pass
    assert caught.value.errno == error
    assert descriptors() == before


@pytest.mark.fault(2)
async def test_a_child_killed_before_ready_ends_the_wait_with_its_signal() -> None:
    with anyio.fail_after(2), pytest.raises(ChannelClosed) as caught:
        async with open_child(evil("die-at-once")) as channel:
            await channel.listen_once("ready")
    assert caught.value.signal == signal.SIGKILL
    assert caught.value.pid == channel.pid


@pytest.mark.fault(3)
async def test_a_child_that_exits_with_0_before_ready_ends_the_wait_too() -> None:
    with anyio.fail_after(2), pytest.raises(ChannelClosed) as caught:
        async with open_child(evil("exit-at-once")) as channel:
            await channel.listen_once("ready")
    assert caught.value.returncode == 0


@pytest.mark.fault(4)
async def test_a_child_that_never_becomes_ready_is_ended_when_the_caller_gives_up() -> None:
    with anyio.fail_after(10):
        with anyio.move_on_after(0.2) as scope:
            async with open_child(evil("never-ready")) as channel:
                await channel.listen_once("ready")
        assert scope.cancelled_caught
        assert channel.returncode == -signal.SIGTERM


@pytest.mark.fault(8)
async def test_ready_in_single_bytes_and_what_follows_both_arrive() -> None:
    async with open_child(evil("drip")) as channel:
        with anyio.fail_after(10):
            await channel.listen_once("ready")
            assert (await channel.listen_once("after"))["data"] == "one byte at a time"


@pytest.mark.fault(8)
async def test_what_is_glued_to_ready_arrives_too() -> None:
    async with open_child(evil("ready+message")) as channel:
        with anyio.fail_after(10):
            await channel.listen_once("ready")
            assert (await channel.listen_once("after"))["data"] == "glued"


@pytest.mark.fault(9)
async def test_a_second_ready_is_kept_and_settles_nobody_else() -> None:
    async with open_child(evil("ready-twice")) as channel:
        with anyio.fail_after(10):
            await channel.listen_once("ready")
            assert await channel.request("anything") == "honest"
        assert channel.statistics().kept == 1


@pytest.mark.fault(9)
@pytest.mark.fault(69)
async def test_a_reply_before_anybody_asked_is_dropped_and_counted() -> None:
    early = '{"jsonrpc":"2.0","id":1,"result":"early"}\n'
    async with open_child(evil(write(early + READY), serve())) as channel:
        with anyio.fail_after(10):
            await channel.listen_once("ready")
            assert await channel.request("anything") == "honest"
        assert channel.statistics().late_replies == 1


@pytest.mark.fault(10)
async def test_a_banner_of_a_megabyte_on_both_outputs_disturbs_nothing() -> None:
    async with open_child(evil("banner"), stdout="devnull", stderr="capture") as channel:
        with anyio.fail_after(20):
            await channel.listen_once("ready")
            assert await channel.request("anything") == "honest"


@pytest.mark.fault(13)
async def test_fifty_children_start_at_once_on_however_few_cores() -> None:
    ready = []

    async def one() -> None:
        async with open_child(evil("unknown-type")) as channel:
            await channel.listen_once("ready")
            ready.append(channel.pid)
            assert await channel.request("anything") == "honest"

    with anyio.fail_after(50):
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(one)
    assert len(set(ready)) == 50


@pytest.mark.fault(13)
async def test_a_pool_of_fifty_that_start_at_once_is_complete_and_none_is_called_late() -> None:
    def make() -> spawned_worker[int, str]:
        return spawned_worker(evil("unknown-type"), init=lambda channel: channel.listen_once("ready"), execute="any")

    async with WorkPool(make, min_size=50, max_size=50, max_starting=50, init_timeout=30) as pool:
        all_ready = anyio.Event()
        pool.listen(lambda _: all_ready.set() if pool.statistics().alive == 50 else None)
        with anyio.fail_after(50):
            await all_ready.wait()
        assert (await pool.process(range(500))).succeeded == 500
    statistics = pool.statistics()
    assert (statistics.started, statistics.stopped, statistics.start_failures) == (50, 50, 0)


@pytest.mark.stress
@pytest.mark.fault(26)
async def test_a_send_to_one_that_has_just_died_is_our_own_error_with_the_status() -> None:
    async with open_child(evil(write(READY), read(), exit_with(7))) as channel:
        await channel.send("go")
        await died(channel.pid)
        with anyio.fail_after(10), pytest.raises(ChannelClosed) as caught:
            await send_for_ever(channel)
    assert caught.value.returncode == 7


@pytest.mark.fault(90)
async def test_a_flood_on_both_outputs_ends_and_so_does_the_close() -> None:
    async with open_child(evil("stdio-flood"), stdout="devnull", stderr="capture") as channel:
        with anyio.fail_after(30):
            assert await channel.request("anything") == "honest"
    endless = evil(write(READY), step("print", 2, "!" * 10_000, 10**9))
    async with open_child(endless, stdout="devnull", stderr="capture") as channel:
        with anyio.fail_after(30):
            await channel.listen_once("ready")
            await channel.destroy()
    assert channel.returncode is not None


@pytest.mark.stress
@pytest.mark.fault(27)
@pytest.mark.fault(76)
async def test_the_last_words_of_a_dead_child_arrive_whole() -> None:
    async with open_child(evil("big-then-exit")) as channel:
        with anyio.fail_after(20):
            await died(channel.pid)
            assert len((await channel.listen_once("big"))["data"]) == 1_000_000
            await channel.listen_once("ready")
            with pytest.raises(ChannelClosed):
                await channel.listen_once("anything else")


@pytest.mark.stress
@pytest.mark.fault(27)
async def test_a_reply_written_by_a_child_that_died_the_same_instant_is_a_result() -> None:
    for _ in range(5):
        async with open_child(evil("die-after-reply")) as channel:
            with anyio.fail_after(10):
                assert await channel.request("anything") == "first"


@pytest.mark.fault(55)
async def test_half_a_reply_is_not_a_reply_but_is_counted() -> None:
    async with open_child(evil(read(), answer('{"jsonrpc":"2.0","id":{id}'), exit_with(1))) as channel:
        with anyio.fail_after(10), pytest.raises(ChannelClosed) as caught:
            await channel.request("anything")
    assert caught.value.truncated > 20
    assert caught.value.returncode == 1
