"""Who waits to send is served in the order in which it came, whatever happens meanwhile."""

import json
import socket
from contextlib import asynccontextmanager, suppress
from itertools import count

import anyio
import anyio.lowlevel
import pytest

from worker_ipc import ChannelClosed, WouldBlock, open_child
from worker_ipc._group import bare_task_group
from worker_ipc._stream import MessageStream
from worker_ipc._writer import HIGH_WATER
from worker_ipc.codecs import JsonLines
from worker_testkit import evil, pause, write

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


class Deaf:
    """A sink for what never comes."""

    def received(self, messages, size):
        raise AssertionError("nobody sends to us")

    def ended(self, error):
        pass


class Line:
    """A stream to a peer that reads only when it is told to, and whose senders number themselves as they call."""

    def __init__(self, stream, peer):
        self.stream, self.peer = stream, peer
        self.called = count()
        self._read = bytearray()

    async def send(self, size=30_000):
        await self.stream.send({"n": next(self.called), "data": "x" * size})

    def fill(self):
        """Post what is no sender's until there is no room."""
        while self.stream.writer.queued <= HIGH_WATER:
            self.stream.post({"data": "y" * HIGH_WATER})

    async def read(self, size=4096):
        """Let the peer read a little, and everyone run who can."""
        with suppress(BlockingIOError):
            self._read += self.peer.recv(size)
        await anyio.lowlevel.checkpoint()

    def wake_first(self):
        """Let the peer read until it is the turn of whoever waits first, who does not run before we wait."""
        while not self.stream.writer.senders[0].waiter.done():
            self._read += self.peer.recv(4096)
            self.stream.writer.flush()

    def came(self):
        """The numbers of the messages that the peer has read whole, in order."""
        *lines, _ = self._read.split(b"\n")
        return [message["n"] for line in lines if "n" in (message := json.loads(line))]


@asynccontextmanager
async def full_line():
    peer, ours = socket.socketpair()
    peer.setblocking(False)
    ours.setblocking(False)
    async with bare_task_group() as (_, loop):
        fd = ours.detach()
        stream = MessageStream(loop, (fd, fd), JsonLines(), Deaf())
        line = Line(stream, peer)
        line.fill()
        try:
            with peer, anyio.fail_after(20):
                yield line
        finally:
            stream.close()


async def test_senders_who_wait_keep_their_order():
    async with full_line() as line, anyio.create_task_group() as group:
        for _ in range(30):
            group.start_soon(line.send)
        await anyio.wait_all_tasks_blocked()
        while len(line.came()) < 30:
            await line.read()
        assert line.came() == list(range(30))


async def test_a_sender_whose_room_was_taken_stays_the_first():
    """By what never waits, a reply or a request by callback: between the waking of the sender and its turn."""
    async with full_line() as line, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(line.send)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            line.wake_first()
            line.fill()
            await anyio.wait_all_tasks_blocked()
        assert len(line.stream.writer.senders) == 5
        while len(line.came()) < 5:
            await line.read()
        assert line.came() == list(range(5))


async def test_whoever_comes_while_others_wait_goes_behind_them():
    async with full_line() as line, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(line.send)
        await anyio.wait_all_tasks_blocked()
        for _ in range(100):
            group.start_soon(line.send, 10_000)
            await line.read(16_384)
            if line.stream.writer.senders:
                with pytest.raises(WouldBlock):
                    line.stream.send_nowait({})
        while len(line.came()) < 103:
            await line.read()
        assert line.came() == list(range(103))


@pytest.mark.parametrize("place", [0, 1])
async def test_a_sender_that_is_cancelled_makes_room_for_the_next(place):
    async with full_line() as line, anyio.create_task_group() as group:
        scopes = [anyio.CancelScope() for _ in range(3)]

        async def sender(scope):
            with scope:
                await line.send()

        for scope in scopes:
            group.start_soon(sender, scope)
            await anyio.wait_all_tasks_blocked()
        line.wake_first()
        scopes[place].cancel()  # in the instant of its turn, or of another's
        while line.came()[-1:] != [2]:
            await line.read()
        assert line.came() in ([0, 1, 2], [number for number in range(3) if number != place])


async def test_the_end_wakes_all_who_wait_to_send():
    async with full_line() as line:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(line.send)
            group.start_soon(line.stream.drained)
            await anyio.wait_all_tasks_blocked()
            line.stream.close()
        assert not line.stream.writer.senders


@pytest.mark.fault(26)
async def test_a_send_that_never_had_its_turn_is_told_to_be_unread():
    async with open_child(evil(write('{"type":"ready"}\n'), pause())) as channel:
        await channel.listen_once("ready")
        await channel.send("x", {"data": "y" * 1_000_000})
        while channel.statistics().unsent_bytes >= 1_000_000:  # of this one the kernel takes a part: it is not counted
            await anyio.lowlevel.checkpoint()
        unread = []

        async def send():
            with pytest.raises(ChannelClosed, match="this side") as closed:
                await channel.send("x")
            unread.append(closed.value.unread)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            await channel.destroy(grace=0)
        assert unread == [1, 2, 3]
