"""Handlers, conversations and what was given up: a listener that is gone takes nothing more."""

import gc
import sys

import anyio
import pytest
from anyio.lowlevel import checkpoint as tick

from worker_ipc import ChannelClosed, open_child

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

ECHO = """
from worker_ipc.blocking import open_parent
with open_parent() as channel:
    channel.send("ready")
    for message in channel.listen():
        channel.send("echo", {"of": message})
"""


def echo():
    return open_child([sys.executable, "-c", ECHO])


async def test_handlers_are_called_one_message_at_a_time_and_can_be_removed():
    async with echo() as channel:
        running, calls, done = 0, [], anyio.Event()

        async def handler(message):
            nonlocal running
            running += 1
            assert running == 1
            await tick()
            calls.append(message["of"]["number"])
            running -= 1
            if len(calls) == 3:
                done.set()

        remove = channel.listen_for("echo", handler)
        for number in range(3):
            await channel.send("x", {"number": number})
        with anyio.fail_after(5):
            await done.wait()
        remove()
        remove()
        await channel.send("x", {"number": 3})
        assert (await channel.listen_once("echo"))["of"]["number"] == 3
    assert calls == [0, 1, 2]


@pytest.mark.wire("C2")
async def test_a_handler_that_raises_is_logged_and_counted_and_stays(caplog):
    async with echo() as channel:
        seen, done = [], anyio.Event()

        def handler(message):
            seen.append(message["of"]["number"])
            if len(seen) == 1:
                raise ValueError("my own mistake")
            done.set()

        channel.listen_for("echo", handler)
        await channel.send("x", {"number": 1})
        await channel.send("x", {"number": 2})
        with anyio.fail_after(5):
            await done.wait()
        assert channel.statistics().handler_errors == 1
    assert "my own mistake" in caplog.text


async def test_release_removes_every_listener_of_events():
    async with echo() as channel:
        await channel.listen_once("ready")
        calls = []
        channel.listen_for("echo", calls.append)
        listener, wait = channel.listen("echo"), channel.listen_once("echo")
        channel.release()
        await channel.send("x")
        await channel.listen_once("echo")
        with pytest.raises(RuntimeError, match="withdrawn"):
            await wait
        with pytest.raises(StopAsyncIteration):
            await anext(listener)
        assert calls == []


async def test_a_conversation_begins_clean_and_leaves_nothing_behind():
    async with echo() as channel:
        await channel.listen_once("ready")
        old = channel.listen_once("old")
        await channel.send("stale")
        while not channel.statistics().kept:
            await tick()
        with channel.conversation():
            assert channel.statistics().kept == 0
            wait, listener = channel.listen_once("echo"), channel.listen("other")
            channel.handle("method", lambda: 1)
        with pytest.raises(RuntimeError, match="withdrawn"):
            await wait
        with pytest.raises(StopAsyncIteration):
            await anext(listener)
        assert channel._core.answers._functions == {}
        with channel.conversation():
            reply = channel.listen_once("echo")
            await channel.send("fresh")
            assert (await reply)["of"]["type"] == "fresh"
        old.cancel()


async def test_a_conversation_restores_the_function_that_answered_before():
    async with echo() as channel:
        channel.handle("method", first := lambda: 1)
        with channel.conversation(), channel.conversation():
            channel.handle("method", lambda: 2)
        assert channel._core.answers._functions == {"method": first}


class Cycle:
    """Holds something, and itself: only the collector ends it."""

    def __init__(self, held):
        self.held = held
        self.itself = self


@pytest.mark.fault(9)
async def test_a_wait_of_an_old_conversation_gives_its_message_to_no_later_one():
    """Found as a shift of all replies by one: the wait was collected while the next conversation waited."""
    async with echo() as channel:
        await channel.listen_once("ready")
        with channel.conversation():
            old = channel.listen_once("echo")
            last = channel.listen_once("echo")
            await channel.send("first")
            await channel.send("second")
            await last
        with channel.conversation():
            reply = channel.listen_once("echo")
            old.cancel()
            await channel.send("third")
            assert (await reply)["of"] == {"type": "third"}


async def test_a_handler_that_was_removed_while_it_ran_takes_nothing_more():
    started, go, seen = anyio.Event(), anyio.Event(), []

    async def handler(message):
        seen.append(message["of"]["type"])
        started.set()
        await go.wait()

    async with echo() as channel:
        await channel.listen_once("ready")
        remove = channel.listen_for("echo", handler)
        await channel.send("first")
        await started.wait()
        remove()
        await channel.send("second")
        while not channel.statistics().kept:
            await tick()
        go.set()
        await anyio.wait_all_tasks_blocked()
        assert (await channel.listen_once("echo"))["of"] == {"type": "second"}
    assert seen == ["first"]


@pytest.mark.stress
async def test_a_listener_that_a_thread_collects_hands_on_what_it_had():
    """The collector runs in whichever thread makes objects. The task that waits must hear of it all the same."""
    gc.collect()
    gc.disable()
    try:
        async with echo() as channel:
            await channel.listen_once("ready")
            abandoned = Cycle(channel.listen("echo"))
            await channel.send("first")
            while not channel.statistics().queued_bytes:
                await tick()
            del abandoned
            received = channel.listen_once("echo")

            async def collect_soon():
                await anyio.wait_all_tasks_blocked()
                await anyio.to_thread.run_sync(gc.collect)

            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    group.start_soon(collect_soon)
                    assert (await received)["of"] == {"type": "first"}
    finally:
        gc.enable()


async def test_a_handler_after_the_block_is_refused_with_the_reason():
    async with echo() as channel:
        while not channel.statistics().kept:
            await tick()
    with pytest.raises(ChannelClosed):
        channel.listen_for("ready", print)
    assert (await channel.listen_once("ready")) == {"type": "ready"}
