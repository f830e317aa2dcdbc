"""Events: nothing that anyone listens for is lost."""

import gc
import sys

import anyio
import pytest
from anyio.lowlevel import checkpoint
from anyio.lowlevel import checkpoint as tick

from worker_ipc import ChannelClosed, EncodeError, WouldBlock, open_child
from worker_testkit import evil, exit_with, read, serve, write

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


def says(*texts):
    return open_child(evil(write("".join(f"{text}\n" for text in texts)), read(), exit_with(0)))


def event(type, number=0):
    return f'{{"type":"{type}","number":{number}}}'


async def collect(listener, numbers):
    async for message in listener:
        numbers.append(message["number"])
        await checkpoint()


async def test_the_first_example_of_the_readme():
    async with echo() as channel:
        await channel.listen_once("ready")
        reply = channel.listen_once("echo")
        await channel.send("request", {"data": "a-"})
        assert await reply == {"type": "echo", "of": {"type": "request", "data": "a-"}}
    assert channel.returncode == 0


@pytest.mark.wire("A11")
async def test_what_is_sent_before_the_child_has_started_arrives():
    async with echo() as channel:
        for number in range(100):
            await channel.send("early", {"number": number})
        received = [(await channel.listen_once("echo"))["of"]["number"] for _ in range(100)]
    assert received == list(range(100))


@pytest.mark.wire("A1")
@pytest.mark.wire("A2")
async def test_messages_that_arrive_before_anybody_listens_are_kept_one_for_each_wait():
    async with says(event("a", 1), event("b", 2), event("a", 3), event("last")) as channel:
        await channel.listen_once("last")
        assert (await channel.listen_once("a"))["number"] == 1
        assert (await channel.listen_once())["number"] == 2
        assert (await channel.listen_once("a"))["number"] == 3


@pytest.mark.stress
@pytest.mark.wire("A3")
@pytest.mark.wire("C6")
@pytest.mark.fault(76)
async def test_what_a_dead_child_had_sent_stays_readable_and_then_every_wait_ends():
    async with open_child(evil("big-then-exit")) as channel:
        while channel.active:
            await tick()
        assert len((await channel.listen_once("big"))["data"]) == 1_000_000
        await channel.listen_once("ready")
        with pytest.raises(ChannelClosed, match="exited with code 0") as closed:
            await channel.listen_once("ready")
    assert (closed.value.pid, closed.value.returncode, closed.value.signal) == (channel.pid, 0, None)


async def test_an_iteration_gets_everything_in_order_and_in_a_parent_ends_with_the_reason():
    numbers = []
    async with says(*(event("a", number) for number in range(50))) as channel:
        await channel.send("go")
        with pytest.raises(ChannelClosed):
            await collect(channel.listen("a"), numbers)
    assert numbers == list(range(50))


@pytest.mark.wire("D2")
async def test_a_break_leaves_nothing_behind_and_loses_nothing():
    async with says(event("a", 1), event("a", 2), event("last")) as channel:
        await channel.listen_once("last")
        async for message in channel.listen("a"):
            assert message["number"] == 1
            break
        gc.collect()
        assert (await channel.listen_once("a"))["number"] == 2


async def test_a_wait_that_is_dropped_swallows_no_message():
    async with echo() as channel:
        await channel.listen_once("ready")
        channel.listen_once("echo")
        gc.collect()
        await channel.send("first")
        assert (await channel.listen_once("echo"))["of"]["type"] == "first"


async def test_a_wait_that_is_cancelled_by_hand_swallows_no_message():
    async with says(event("a"), event("last")) as channel:
        wait = channel.listen_once("a")
        await channel.listen_once("last")
        wait.cancel()
        wait.cancel()
        assert (await channel.listen_once("a"))["type"] == "a"
        with pytest.raises(RuntimeError, match="withdrawn"):
            await wait


@pytest.mark.fault(97)
async def test_a_message_handed_back_wakes_who_iterates():
    async with says(event("a", 1), event("last")) as channel:
        wait = channel.listen_once("a")
        await channel.listen_once("last")
        received = []

        async def iterate():
            received.append(await anext(channel.listen("a")))

        async with anyio.create_task_group() as group:
            group.start_soon(iterate)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(5):
                wait.cancel()
                while not received:
                    await tick()
        assert received == [{"type": "a", "number": 1}]


async def test_a_wait_gives_its_message_once():
    async with says(event("a")) as channel:
        wait = channel.listen_once("a")
        await wait
        with pytest.raises(RuntimeError, match="listen_once"):
            await wait


async def test_two_tasks_cannot_share_one_wait():
    async with says(event("other")) as channel, anyio.create_task_group() as group:
        wait = channel.listen_once("a")

        async def first():
            with pytest.raises(ChannelClosed):
                await wait

        group.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="another task"):
            await wait
        await channel.destroy()


@pytest.mark.stress
@pytest.mark.fault(97)
async def test_a_task_cancelled_in_the_instant_of_delivery_hands_its_message_to_the_next():
    """The message and the cancellation reach the waiting task in the same step of the loop."""
    async with says(event("a", 1), event("last")) as channel:
        scope = anyio.CancelScope()
        received = []

        async def impatient():
            with scope:
                received.append(await wait)

        wait = channel.listen_once("a")
        async with anyio.create_task_group() as group:
            group.start_soon(impatient)
            await anyio.wait_all_tasks_blocked()
            channel._core.mailbox.put({"type": "a", "number": 0})
            scope.cancel()
        while len(received) < 2:  # it may have got one: on trio a task that was woken is not cancelled any more
            received.append(await channel.listen_once("a"))
        assert sorted(message["number"] for message in received) == [0, 1]  # the child's own may be the first


async def test_a_listener_registers_when_it_is_made_not_when_it_is_read():
    async with echo() as channel:
        await channel.listen_once("ready")
        with channel.listen("echo") as messages:
            for number in range(3):
                await channel.send("x", {"number": number})
            waits = [channel.listen_once("echo") for _ in range(3)]
            for wait in waits:
                await wait
            assert [(await anext(messages))["of"]["number"] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(StopAsyncIteration):
            await anext(messages)


@pytest.mark.wire("C8")
async def test_two_tasks_on_one_listener_share_the_messages_and_two_listeners_have_them_all():
    numbers = range(40)
    async with says(*(event("a", number) for number in numbers)) as channel:
        shared, other = channel.listen("a"), channel.listen("a")
        taken, copied = [], []

        async def take(into, listener):
            with pytest.raises(ChannelClosed):
                await collect(listener, into)

        async with anyio.create_task_group() as group:
            group.start_soon(take, taken, shared)
            group.start_soon(take, taken, shared)
            group.start_soon(take, copied, other)
            await channel.send("end")
    assert sorted(taken) == copied == list(numbers)


@pytest.mark.wire("C8")
async def test_tasks_on_one_listener_are_served_in_the_order_in_which_they_came():
    async with says() as channel:
        listener, received = channel.listen("a"), {}

        async def receive(number):
            received[number] = (await anext(listener))["number"]

        for _ in range(10):  # trio runs tasks that were woken together in any order
            async with anyio.create_task_group() as group:
                for number in range(3):
                    group.start_soon(receive, number)
                    await anyio.wait_all_tasks_blocked()
                for number in range(3):
                    channel._core.mailbox.put({"type": "a", "number": number})
            assert received == {0: 0, 1: 1, 2: 2}
        await channel.send("done")


@pytest.mark.stress
@pytest.mark.fault(97)
async def test_iterations_cancelled_in_the_instant_of_delivery_leave_their_messages_in_order():
    async with says() as channel:
        listener, received = channel.listen("a"), []

        async def receive():
            received.append((await anext(listener))["number"])

        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
            for number in range(3):
                channel._core.mailbox.put({"type": "a", "number": number})
            group.cancel_scope.cancel()
        left = [(await anext(listener))["number"] for _ in range(3 - len(received))]
        assert sorted(received) + left == [0, 1, 2]


async def test_cancelling_an_iteration_loses_nothing():
    async with echo() as channel:
        await channel.listen_once("ready")
        listener = channel.listen("echo")
        with anyio.move_on_after(0):
            await anext(listener)
        await channel.send("x", {"number": 7})
        assert (await anext(listener))["of"]["number"] == 7


@pytest.mark.wire("C9")
@pytest.mark.parametrize(
    "data",
    [{"type": "x"}, {"jsonrpc": "2.0"}, {"cmd": "NODE_HANDLE"}, {"value": float("nan")}, {"value": {1, 2}}, {1: 2}],
)
@pytest.mark.wire("A8")
@pytest.mark.wire("A9")
@pytest.mark.fault(23)
async def test_what_would_not_arrive_as_it_is_is_refused_at_the_call_and_harms_nothing(data):
    async with echo() as channel:
        await channel.listen_once("ready")
        with pytest.raises(EncodeError):
            await channel.send("x", data)
        with pytest.raises(EncodeError):
            channel.send_nowait("x", data)
        await channel.send("x", {"cmd": "fine"})
        assert (await channel.listen_once("echo"))["of"] == {"type": "x", "cmd": "fine"}
        assert channel.statistics().sent == 1


@pytest.mark.parametrize("type", [None, 7, b"x", ""])
async def test_a_type_is_text(type):
    async with echo() as channel:
        if type == "":
            await channel.send(type)
        else:
            with pytest.raises(EncodeError, match="type"):
                await channel.send(type)


@pytest.mark.wire("B2")
async def test_an_overfull_mailbox_drops_the_newest_counts_and_warns_once(caplog):
    texts = [event("a", number) for number in range(30)] + [event("last")]
    async with open_child(evil(write("".join(f"{text}\n" for text in texts)), serve()), mailbox=10) as channel:
        await channel.request("wait until all was read")
        statistics = channel.statistics()
        assert (statistics.kept, statistics.dropped) == (10, 21)
        assert [(await channel.listen_once("a"))["number"] for _ in range(10)] == list(range(10))
    assert [log.name for log in caplog.records if "dropped" in log.getMessage()] == ["worker_ipc"]


@pytest.mark.wire("B1")
@pytest.mark.fault(73)
async def test_send_waits_for_a_peer_that_does_not_read_and_send_nowait_says_so():
    async with open_child(evil("deaf")) as channel:
        with anyio.move_on_after(0.3) as scope:
            while True:
                await channel.send("x", {"data": "x" * 10_000})
        assert scope.cancelled_caught
        assert channel.statistics().unsent_bytes < 100_000
        with pytest.raises(WouldBlock):
            [channel.send_nowait("x", {"data": "x" * 10_000}) for _ in range(100)]
        await channel.destroy(grace=0)


async def test_statistics_are_a_snapshot():
    async with says(event("a")) as channel:
        before = channel.statistics()
        await channel.listen_once("a")
        await channel.send("x")
        after = channel.statistics()
    assert (before.sent, before.received, after.sent, after.received) == (0, 0, 1, 1)
    with pytest.raises(AttributeError):
        after.sent = 2
