"""Backpressure: a flood never grows without bound, and never blocks a reply."""

import contextlib
import gc
import os
import socket
import sys
import tracemalloc

import anyio
import anyio.lowlevel
import pytest

from worker_ipc import ChannelClosed, open_child
from worker_ipc._reader import CHUNK
from worker_ipc._readiness import current_loop
from worker_ipc._writer import HIGH_WATER, Writer
from worker_testkit import evil, exit_with, read, step, write

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

FLOOD = step("flood", '{"type":"spam","data":"01234567"}\n')


def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def until(condition):
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.001)


@pytest.mark.fault("99f")
@pytest.mark.fault("S6")
async def test_a_listener_that_does_not_read_slows_the_child():
    async with open_child(evil(read(), FLOOD), mailbox=100) as channel:
        with channel.listen("spam") as messages:
            await channel.send("go")
            await until(lambda: channel.statistics().paused)
            received = channel.statistics().received
            await anyio.sleep(0.05)
            assert channel.statistics().received == received
            for _ in range(2 * received):
                await anext(messages)
            await until(lambda: channel.statistics().paused)
        await until(lambda: not channel.statistics().paused)


async def test_a_wait_makes_a_paused_channel_read_on():
    child = evil(read(), write('{"type":"spam"}\n', 20_000), write('{"type":"last"}\n'))
    async with open_child(child, mailbox=100) as channel:
        with channel.listen("spam") as messages:
            await channel.send("go")
            await until(lambda: channel.statistics().paused)
            await channel.listen_once("last")
            for _ in range(20_000):
                await anext(messages)


async def test_a_reply_passes_a_flood_that_nobody_reads():
    child = evil(read(), write('{"type":"spam"}\n', 20_000), *_answering())
    async with open_child(child, mailbox=100) as channel, anyio.create_task_group() as group:
        with channel.listen("spam"):
            await channel.send("go")
            await until(lambda: channel.statistics().paused)
            assert await channel.request("anything") == "honest"
        group.cancel_scope.cancel()


def _answering():
    return (step("serve"),)


async def test_a_flood_leaves_the_loop_to_others():
    line = len('{"type":"spam","data":"01234567"}\n')
    async with open_child(evil("spam")) as channel:
        await channel.listen_once("ready")
        most, before = 0, channel.statistics().received
        with anyio.fail_after(20):
            while channel.statistics().received < 40_000:
                await anyio.lowlevel.checkpoint()
                now = channel.statistics().received
                most, before = max(most, now - before), now
        # Others have their turn after each read, or after two, as trio shuffles a turn: on a machine of any speed.
        assert most <= 2 * (CHUNK // line + 1)


BOTH_FLOOD = """
import sys, anyio
from worker_ipc import open_parent

async def main():
    async with open_parent() as channel:
        with channel.listen("flood") as messages:
            for number in range(2000):
                await channel.send("flood", {"number": number, "data": "x" * 1000})
            for number in range(2000):
                assert (await anext(messages))["number"] == number
        await channel.send("done")
        await channel.listen_once("end")

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.fault(72)
@pytest.mark.wire("B3")
async def test_two_that_flood_each_other_before_either_reads_run_on(anyio_backend_name):
    async with open_child([sys.executable, "-c", BOTH_FLOOD, anyio_backend_name], mailbox=100) as channel:
        with channel.listen("flood") as messages:
            for number in range(2000):
                await channel.send("flood", {"number": number, "data": "x" * 1000})
            for number in range(2000):
                assert (await anext(messages))["number"] == number
        with anyio.fail_after(20):
            await channel.listen_once("done")
        await channel.send("end")


@pytest.mark.fault(75)
async def test_a_cancelled_send_never_leaves_half_a_message():
    child = evil(step("wait", 0.2), step("check_lines", '"type":"last"'))
    async with open_child(child) as channel:
        for _ in range(100):
            with anyio.move_on_after(0.002):
                await channel.send("x", {"data": "y" * 100_000})
        await channel.send("last")
        lines = await channel.listen_once("lines")
    assert lines["broken"] == 0
    assert 2 < lines["read"] < 101


@pytest.mark.fault(74)
async def test_senders_take_turns_and_lines_never_mix():
    child = "import sys\nfrom worker_ipc.blocking import open_parent\nfrom time import sleep\n"
    child += "with open_parent() as channel:\n    sleep(0.1)\n    seen = {}\n"
    child += "    for m in channel.listen('x'):\n        assert m['n'] == seen.get(m['who'], 0), m\n"
    child += "        seen[m['who']] = m['n'] + 1\n        if sum(seen.values()) == 20 * 50: channel.send('done')\n"
    async with open_child([sys.executable, "-c", child]) as channel, anyio.create_task_group() as group:

        async def sender(who):
            for number in range(50):
                await channel.send("x", {"who": str(who), "n": number, "data": "y" * 2000})

        for who in range(20):
            group.start_soon(sender, who)
        with anyio.fail_after(20):
            await channel.listen_once("done")


@pytest.mark.stress
async def test_a_sender_cancelled_in_the_instant_of_its_turn_passes_it_on():
    async with open_child(evil(step("wait", 0.3), step("check_lines", "last"))) as channel:
        await channel.send("x", {"data": "y" * 1_000_000})
        async with anyio.create_task_group() as group:
            scopes = [anyio.CancelScope() for _ in range(3)]

            async def sender(scope):
                with scope:
                    await channel.send("x", {"data": "y"})

            for scope in scopes:
                group.start_soon(sender, scope)
            await anyio.wait_all_tasks_blocked()
            channel._core.stream.writer.senders[0].wake()
            scopes[0].cancel()
            scopes[1].cancel()
        with anyio.fail_after(10):
            await channel.send("last")
            assert (await channel.listen_once("lines"))["broken"] == 0


ECHO = """
import sys, anyio
from worker_ipc import open_parent

async def main():
    async with open_parent() as channel:
        channel.handle("double", lambda value: value * 2)
        async for message in channel.listen("x"):
            await channel.send("x", {"n": message["n"]})

anyio.run(main, backend="asyncio")
"""


async def test_memory_is_flat_over_many_messages():
    """A short form of a million each way: what is kept per message shows after a few ten thousand."""
    async with open_child([sys.executable, "-c", ECHO]) as channel:

        async def round_trips(count):
            with channel.listen("x") as messages:
                for start in range(0, count, 100):
                    for number in range(start, start + 100):
                        await channel.send("x", {"n": number})
                    for number in range(start, start + 100):
                        assert (await anext(messages))["n"] == number
                    assert await channel.request("double", [start]) == 2 * start

        await round_trips(3000)
        gc.collect()
        before = rss()
        await round_trips(20_000)
        gc.collect()
        assert rss() - before < 2 * 2**20


@pytest.mark.wire("B5")
@pytest.mark.fault(24)
@pytest.mark.fault(67)
async def test_a_large_message_goes_both_ways():
    data = "x" * 5_000_000  # more than every buffer on the way
    async with open_child(
        [sys.executable, "-c", ECHO.replace('"double", lambda value: value * 2', '"same", str')]
    ) as channel:
        with anyio.fail_after(20):
            assert await channel.request("same", [data]) == data


@pytest.mark.fault(66)
async def test_a_small_line_may_become_a_large_object():
    # 1 MB that becomes 20: as many objects as that need no more room in one message than they would in many.
    line = (write('{"type":"ready","data":['), write("[],", 300_000), write("[]]}\n"), read())
    async with open_child(evil(*line)) as channel:
        assert len((await channel.listen_once("ready"))["data"]) == 300_001


async def test_the_unread_flood_of_a_dead_child_stays_readable():
    async with open_child(evil(write('{"type":"spam"}\n', 5000), step("exit", 0)), mailbox=100) as channel:
        with channel.listen("spam") as messages:
            await until(lambda: not channel.active)
            for _ in range(5000):
                await anext(messages)
            with pytest.raises(ChannelClosed, match="code 0"):
                await anext(messages)


async def test_senders_who_wait_for_the_kernel_sleep_meanwhile():
    """Two sends of a child, which end when the kernel has their messages, do not wake each other until then."""
    peer, ours = socket.socketpair()
    with peer, ours:
        for end in (peer, ours):
            end.setblocking(False)
        async with anyio.create_task_group() as group:
            loop = current_loop(group)
            writer = Writer(loop, ours.fileno(), lambda: None, write_through=True)
            for _ in range(2):
                writer.write(b"x" * 500_000)
                group.start_soon(writer.drained)
                await anyio.wait_all_tasks_blocked()
            while writer.queued > HIGH_WATER:  # from here on there is room for more, but the kernel has not all of it
                with contextlib.suppress(BlockingIOError):
                    peer.recv(4096)
                await anyio.lowlevel.checkpoint()
            assert writer.queued
            with anyio.fail_after(5):
                await anyio.wait_all_tasks_blocked()
            writer.stop()
            loop.close()


@pytest.mark.fault(89)
async def test_a_channel_that_has_ended_holds_no_buffers_until_the_collector_comes():
    async def life():
        async with open_child(evil(exit_with(0))) as channel:
            with pytest.raises(ChannelClosed):
                await channel.listen_once()

    await life()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(10):
            await life()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert held < 10 * CHUNK


@pytest.mark.fault(73)
async def test_many_listeners_that_are_slow_hold_the_peer_up_and_do_not_end_it():
    big = '{"type":"data","data":"' + "x" * 100_000 + '"}\n'
    async with open_child(evil(step("flood", big)), mailbox=20, max_message=200_000) as channel:
        channel._core._max_queued = 10_000_000  # 20 listeners hold more: each message is counted for each
        listeners = [channel.listen("data") for _ in range(20)]
        with anyio.fail_after(20):
            while not channel.statistics().paused:
                await anyio.sleep(0.001)
            for _ in range(20):
                for listener in listeners:
                    assert (await anext(listener))["type"] == "data"
        assert channel.active
        for listener in listeners:
            listener.close()
