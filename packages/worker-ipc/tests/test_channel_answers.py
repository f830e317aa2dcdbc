"""Who answers the peer's requests, in which order, and what of a peer that can't be answered."""

import gc
import sys
import weakref

import anyio
import pytest
from anyio.lowlevel import checkpoint as tick

from worker_ipc import ChannelClosed, ProtocolError, open_child
from worker_ipc.codecs import JsonLines
from worker_testkit import evil, exit_with, read, write

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

HOLDING = """
import select, sys
import anyio
from worker_ipc import open_parent

async def main():
    async with open_parent(mailbox=5) as channel:
        {body}
anyio.run(main, backend=sys.argv[1])
"""

LATE = """
        seen = []
        while not channel.statistics().queued_bytes:
            await anyio.lowlevel.checkpoint()
        await channel.send("held")
        select.select([channel._core.stream._fd_in], [], [])  # the next request is there, and not read
        await anyio.lowlevel.checkpoint()
        channel.handle("note", seen.append)
        channel.handle("seen", lambda: seen)
        await anyio.sleep_forever()
"""

FULL = """
        listener = channel.listen("event")
        while not channel.statistics().paused:
            await anyio.lowlevel.checkpoint()
        await channel.send("paused")
        ended = anyio.Event()

        async def slow():
            try:
                await anyio.sleep_forever()
            finally:
                ended.set()

        channel.handle("slow", slow)
        await ended.wait()
        await channel.send("ended")
"""


EXITING = """
        async def later(message):
            await anyio.lowlevel.checkpoint()
            sys.exit(3)

        def now(message):
            sys.exit(3)

        channel.listen_for("exit", {how})
        await channel.send("ready")
        await anyio.sleep_forever()
"""


@pytest.fixture
def holding_child(anyio_backend_name):
    """A child that holds requests until it has a function for them."""

    def start(body):
        return open_child([sys.executable, "-c", HOLDING.format(body=body.strip()), anyio_backend_name])

    return start


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("id", "interop"), [(r'"\ud800"', None), (2**60, "node")], ids=["surrogate", "node"])
@pytest.mark.fault(61)
@pytest.mark.fault(63)
async def test_a_request_that_cannot_be_answered_ends_the_child_and_nothing_else(is_async, id, interop):
    async def later():
        await tick()

    asking = evil(write(f'{{"jsonrpc":"2.0","id":{id},"method":"f"}}\n'), read(), exit_with(0))
    with anyio.fail_after(20):
        async with open_child(asking, codec=JsonLines(interop=interop)) as channel:
            channel.handle("f", later if is_async else lambda: None)
            with pytest.raises(ProtocolError, match="id of a request must be one that can be sent back"):
                await channel.listen_once("answered")
    assert channel.returncode == -9


async def test_a_function_that_was_removed_answers_no_more():
    asking = evil(write('{"jsonrpc":"2.0","id":1,"method":"f"}\n'), read(), exit_with(0))
    async with open_child(asking) as channel:
        functions = channel._core.answers._functions
        remove = {name: channel.handle("f", lambda name=name: name) for name in "abcd"}
        for gone, left in (("b", "d"), ("d", "c"), ("c", "a"), ("c", "a")):
            remove[gone]()
            assert functions["f"]() == left
        remove["a"]()
        assert functions == {}


async def test_functions_that_were_replaced_are_let_go():
    async with open_child(evil(read(), exit_with(0))) as channel:
        alive, remove = [], None
        for _ in range(20):

            def function():
                return None

            alive.append(weakref.ref(function))
            replaced, remove = remove, channel.handle("f", function)
            if replaced is not None:
                replaced()
        del function, replaced
        gc.collect()
        assert sum(function() is not None for function in alive) == 1


async def test_a_function_whose_remover_was_dropped_stays_until_the_next():
    async with open_child(evil(read(), exit_with(0))) as channel:
        functions = channel._core.answers._functions
        remove = channel.handle("f", lambda: "first")
        channel.handle("f", lambda: "second")
        remove()
        assert functions["f"]() == "second"
        channel.handle("f", lambda: "third")()
        assert functions["f"]() == "second"


@pytest.mark.fault(74)
async def test_a_request_does_not_overtake_those_that_are_held(holding_child):
    async with holding_child(LATE) as channel:
        for number in (1, 2):
            await channel.notify("note", [number])
        await channel.listen_once("held")
        await channel.notify("note", [3])
        assert await channel.request("seen") == [1, 2, 3]


async def test_a_held_request_that_starts_while_nothing_is_read_can_be_cancelled(holding_child):
    answers = []
    async with holding_child(FULL) as channel:
        request = channel.request_nowait("slow", None, lambda *answer: answers.append(answer))
        for _ in range(5):
            await channel.send("event")
        with anyio.fail_after(20):
            await channel.listen_once("paused")
            request.cancel()
            await channel.listen_once("ended")
    assert answers == []


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_handler_that_exits_ends_its_program_with_its_own_status(holding_child, is_async):
    """And not with the cancellation by which the block was ended. (In a child: it ends the whole event loop.)"""
    async with holding_child(EXITING.format(how="later" if is_async else "now")) as channel:
        await channel.listen_once("ready")
        await channel.send("exit")
        with pytest.raises(ChannelClosed):
            await channel.listen_once()
    assert channel.returncode == 3


async def test_a_listener_that_is_dropped_while_its_queue_fills_does_not_stop_the_reading():
    """The function that the same read brings drops it: nobody is behind any more."""
    was_read = anyio.Event()
    first = ['{"type":"event"}'] * 5 + ['{"jsonrpc":"2.0","id":1,"method":"drop"}', ""]
    child = evil(write("\n".join(first)), read(), write('{"jsonrpc":"2.0","method":"more"}\n'), read(), exit_with(0))
    with anyio.fail_after(20):
        async with open_child(child, mailbox=5) as channel:
            listeners = [channel.listen("event")]
            channel.handle("drop", listeners.clear)
            channel.handle("more", was_read.set)
            await was_read.wait()
