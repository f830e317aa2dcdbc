"""Programs as streams of messages: what they speak on stdin and stdout, or on the channel."""

import os
import signal
import sys

import anyio
import anyio.lowlevel
import pytest

from worker_ipc import ChannelClosed, EncodeError, ProtocolError, WouldBlock, open_stream
from worker_ipc.codecs import ContentLength, JsonLines, Pickled, TextLines
from worker_testkit import evil, kill_unseen, pause, read, step, write

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


def python(code):
    return [sys.executable, "-c", code]


def end_orphan(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


async def test_a_program_that_speaks_lines():
    async with open_stream(["cat"]) as stream:
        for line in ("first", "", "ünïcode \u2028 stays one line"):
            await stream.send(line)
            assert await stream.receive() == line
    assert stream.returncode == 0


async def test_who_sends_to_a_program_that_closed_its_input_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr("worker_ipc._child_stream.EXIT_TIME", 0.01)
    closes = "import os, sys, time; os.close(0); print('closed', flush=True); time.sleep(60)"
    async with open_stream(python(closes)) as stream:
        assert await stream.receive() == "closed"
        for _ in range(5):
            with pytest.raises(ChannelClosed, match="does not read its input any more"):
                await stream.send("hello")
        assert not stream._inbox._waiting
        await stream.destroy(0)


async def test_the_iteration_ends_when_the_program_ends_well():
    async with open_stream(["sh", "-c", "echo one; printf two"]) as stream:
        assert [line async for line in stream] == ["one", "two"]
        with pytest.raises(ChannelClosed, match="code 0"):
            await stream.receive()


@pytest.mark.fault(55)
@pytest.mark.parametrize(
    ("codec", "head"),
    [(ContentLength(), b"Content-Length: 100\r\n\r\n"), (Pickled(), b"".join(Pickled().encode(b"x" * 100))[:16])],
    ids=repr,
)
async def test_a_header_without_its_body_is_no_quiet_end(codec, head):
    async with open_stream(python(f"import sys; sys.stdout.buffer.write({head!r})"), codec) as stream:
        with anyio.fail_after(20), pytest.raises(ChannelClosed, match="bytes into a message") as closed:
            await anext(stream)
        assert (closed.value.truncated, closed.value.returncode) == (len(head), 0)


async def test_the_iteration_raises_when_the_program_fails():
    lines = []
    async with open_stream(["sh", "-c", "echo one; echo why >&2; exit 3"], stderr="capture") as stream:
        with pytest.raises(ChannelClosed, match="code 3") as closed:
            lines.extend([line async for line in stream])
    assert (closed.value.returncode, closed.value.stderr) == (3, "why\n")


@pytest.mark.stress
async def test_the_end_of_input_can_be_sent_and_the_answer_still_comes():
    async with open_stream(["sort"]) as stream:
        for line in "cab":
            await stream.send(line)
        await stream.send_eof()
        await stream.send_eof()
        assert [line async for line in stream] == ["a", "b", "c"]
        with pytest.raises(ChannelClosed):
            await stream.send("too late")


async def test_the_end_of_input_comes_after_everything_that_was_sent():
    async with open_stream(["wc", "-c"]) as stream:
        await stream.send("x" * 1_000_000)
        await stream.send_eof()
        assert int(await stream.receive()) == 1_000_001


@pytest.mark.parametrize(
    "codec", [JsonLines(), ContentLength(), Pickled(), TextLines()], ids=lambda codec: type(codec).__name__
)
@pytest.mark.parametrize("over", ["stdio", "channel"])
async def test_any_codec_over_either_way(codec, over):
    echo = "import os; fd = os.environ.get('NODE_CHANNEL_FD'); i, o = (int(fd),) * 2 if fd else (0, 1)\n"
    echo += "import select\nwhile select.select([i], [], []) and (data := os.read(i, 65536)): os.write(o, data)"
    async with open_stream(python(echo), codec, over=over) as stream:
        for message in ("text", "x" * 50_000):
            await stream.send(message)
            assert await stream.receive() == message


@pytest.mark.wire("F3")
async def test_a_channel_has_no_end_of_input_alone():
    async with open_stream(evil("ready-twice"), JsonLines(), over="channel") as stream:
        assert await stream.receive() == {"type": "ready"}
        with pytest.raises(RuntimeError, match="one end"):
            await stream.send_eof()


async def test_over_is_one_of_two_ways():
    with pytest.raises(ValueError, match="'stdio' or 'channel', got 'tcp'"):
        open_stream(["cat"], over="tcp")


async def test_what_cannot_be_encoded_harms_nothing():
    async with open_stream(["cat"]) as stream:
        with pytest.raises(EncodeError):
            await stream.send("two\nlines")
        await stream.send("one")
        assert await stream.receive() == "one"
        assert stream.sent == 1


@pytest.mark.fault(54)
async def test_a_program_that_breaks_the_rules_is_ended():
    async with open_stream(["sh", "-c", "echo '{}'; echo garbage; exec sleep 60"], JsonLines()) as stream:
        assert await stream.receive() == {}
        with anyio.fail_after(5), pytest.raises(ProtocolError):
            await stream.receive()
        await stream.destroy(grace=0)


async def test_a_program_may_close_its_input_and_go_on_writing():
    code = "import os, time; os.close(0); print('closed', flush=True); time.sleep(1); print('still here', flush=True)"
    async with open_stream(python(code)) as stream:
        assert await stream.receive() == "closed"
        with pytest.raises(ChannelClosed, match="does not read its input"):
            await stream.send("x")
        assert await stream.receive() == "still here"


@pytest.mark.stress
@pytest.mark.fault(26)
@pytest.mark.parametrize("over", ["stdio", "channel"])
@pytest.mark.parametrize("is_sent_first", [True, False])
async def test_sending_to_a_dead_program_raises_its_end_and_tells_that_nobody_read_it(over, is_sent_first):
    async with open_stream(evil(pause()), over=over) as stream:
        if is_sent_first:
            stream.send_nowait("in the pipe when it dies")
            await anyio.lowlevel.checkpoint()  # the writer gathers until the end of the turn
        kill_unseen(stream.pid)
        with anyio.fail_after(5), pytest.raises(ChannelClosed, match="SIGKILL") as closed:
            while True:
                await stream.send("x")
        assert closed.value.unread == stream.sent


@pytest.mark.fault(26)
async def test_a_message_that_cannot_be_sent_without_waiting_is_told_to_be_unread():
    async with open_stream(evil(pause())) as stream:
        kill_unseen(stream.pid)
        with pytest.raises(ChannelClosed) as closed:
            while True:
                stream.send_nowait("x")
                await anyio.lowlevel.checkpoint()
        assert closed.value.unread == stream.sent


@pytest.mark.fault(36)
async def test_what_a_grandchild_may_still_read_is_not_called_unread():
    """It has left the family, with the stdin of the child that died."""
    code = "import os, time\nif pid := os.fork(): print(pid, flush=True)\nelse: os.setsid()\ntime.sleep(60)"
    async with open_stream(python(code)) as stream:
        grandchild = int(await stream.receive())
        while os.getsid(grandchild) != grandchild:
            await anyio.sleep(0.001)
        try:
            await stream.send("for whoever reads it")
            await anyio.lowlevel.checkpoint()
            kill_unseen(stream.pid)
            with anyio.fail_after(5), pytest.raises(ChannelClosed, match="SIGKILL") as closed:
                await stream.receive()
            assert closed.value.unread == 0
        finally:
            end_orphan(grandchild)


@pytest.mark.fault("99f")
async def test_a_program_that_writes_more_than_is_read_is_slowed():
    async with open_stream(["yes"], mailbox=100) as stream:
        with anyio.fail_after(10):
            while not stream._inbox.stream.reader.paused:
                await anyio.sleep(0.001)
        held = len(stream._inbox.queue)
        await anyio.sleep(0.05)
        assert len(stream._inbox.queue) == held
        for _ in range(3 * held):
            assert await stream.receive() == "y"
        await stream.destroy(grace=0)


@pytest.mark.fault(72)
async def test_a_program_that_floods_while_we_flood_it_runs_on():
    async with open_stream(["cat"], mailbox=10) as stream:
        for number in range(3000):
            await stream.send(f"{number} {'x' * 1000}")
        for number in range(3000):
            assert (await stream.receive()).startswith(f"{number} ")


@pytest.mark.fault(73)
async def test_send_nowait_says_when_the_program_does_not_read():
    async with open_stream(evil(pause())) as stream:
        with pytest.raises(WouldBlock):
            [stream.send_nowait("x" * 100_000) for _ in range(100)]
        await stream.destroy(grace=0)


async def test_receivers_are_served_in_the_order_in_which_they_came():
    async with open_stream(["cat"]) as stream:
        received = {}

        async def receive(number):
            received[number] = await stream.receive()

        for _ in range(10):  # trio runs tasks that were woken together in any order
            async with anyio.create_task_group() as group:
                for number in range(3):
                    group.start_soon(receive, number)
                    await anyio.wait_all_tasks_blocked()
                for text in ("first", "second", "third"):
                    stream.send_nowait(text)
            assert received == {0: "first", 1: "second", 2: "third"}


@pytest.mark.stress
@pytest.mark.fault(97)
async def test_a_receiver_cancelled_in_the_instant_of_delivery_hands_its_message_to_the_next():
    async with open_stream(["cat"]) as stream:
        received = []

        async def receive(scope):
            with scope:
                received.append(await stream.receive())

        scopes = [anyio.CancelScope() for _ in range(3)]
        async with anyio.create_task_group() as group:
            for scope in scopes:
                group.start_soon(receive, scope)
                await anyio.wait_all_tasks_blocked()
            stream._inbox.received(["1"], 1)
            scopes[0].cancel()  # on trio a task that was woken is not cancelled any more
            stream._inbox.received(["2"], 1)
            with anyio.fail_after(5):
                while len(received) < 2:
                    await anyio.lowlevel.checkpoint()
            scopes[2].cancel()
        assert sorted(received) == ["1", "2"]


@pytest.mark.stress
@pytest.mark.fault(97)
async def test_receivers_that_are_all_cancelled_with_their_messages_leave_them_in_order():
    async with open_stream(["cat"]) as stream:
        received = []

        async def receive():
            received.append(await stream.receive())

        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
            stream._inbox.received(["1", "2", "3"], 1)
            group.cancel_scope.cancel()
        left = [await stream.receive() for _ in range(3 - len(received))]
        assert sorted(received) + left == ["1", "2", "3"]


class Taker:
    def __init__(self):
        self.messages, self.errors, self.done = [], [], anyio.Event()

    def received(self, messages):
        self.messages.extend(messages)

    def closed(self, error):
        self.errors.append(error)
        self.done.set()


async def test_a_receiver_takes_the_messages_straight_from_the_read_and_hears_of_the_end():
    async with open_stream(["cat"]) as stream:
        await stream.send("before")
        while not stream._inbox.queue:
            await anyio.lowlevel.checkpoint()
        taker = Taker()
        stream.attach(taker)
        stream.post("after")
        await stream.send_eof()
        with anyio.fail_after(5):
            await taker.done.wait()
        with pytest.raises(ChannelClosed):
            stream.post("too late")
        late = Taker()
        stream.attach(late)
    assert taker.messages == ["before", "after"]
    assert [error.returncode for error in taker.errors] == [0]
    assert len(late.errors) == 1


async def test_a_conversation_begins_with_nothing_left_over():
    async with open_stream(evil(write("left over\n"), read(), write("fresh\n")), over="channel") as stream:
        while not stream._inbox.queue:
            await anyio.lowlevel.checkpoint()
        with stream.conversation():
            await stream.send("go")
            assert await stream.receive() == "fresh"


@pytest.mark.fault(9)
async def test_a_receive_that_outlives_its_conversation_takes_nothing_from_the_next():
    refused = []

    async def receive_in_vain():
        with pytest.raises(RuntimeError, match="conversation is over") as caught:
            await stream.receive()
        refused.append(caught.value)

    async with open_stream(["cat"]) as stream, anyio.create_task_group() as group:
        with stream.conversation():
            group.start_soon(receive_in_vain)
            await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(20), stream.conversation():
            await stream.send("mine")
            assert await stream.receive() == "mine"
    assert len(refused) == 1


async def test_the_endless_line_of_a_program_ends_it():
    async with open_stream(evil(step("flood", "x")), max_message=100_000, over="channel") as stream:
        with anyio.fail_after(5), pytest.raises(ProtocolError, match="100000"):
            await stream.receive()
