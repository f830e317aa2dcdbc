"""The end of a channel: bad input ends the child and never the parent, and every wait ends with the reason."""

import logging
import os
import select
import signal
import sys

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from worker_ipc import ChannelClosed, MessageTooLarge, Overrun, ProtocolError, open_child
from worker_testkit import answer, evil, exit_with, kill_self, kill_unseen, pause, read, serve, step, write

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

READY = '{"type":"ready"}\n'


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("garbage", marks=[pytest.mark.fault(54), pytest.mark.wire("A7")]),
        pytest.param("deep", marks=pytest.mark.fault(58)),
        pytest.param("bad-utf8", marks=pytest.mark.fault(60)),
        pytest.param("overlong-utf8", marks=pytest.mark.fault(60)),
        pytest.param("bom", marks=pytest.mark.fault(60)),
        pytest.param("not-an-object", marks=pytest.mark.fault(68)),
        pytest.param("nan", marks=pytest.mark.fault(64)),
        pytest.param("infinite", marks=pytest.mark.fault(62)),
        pytest.param("huge-integer", marks=pytest.mark.fault(62)),
        pytest.param("many-digits", marks=pytest.mark.fault(62)),
    ],
)
async def test_a_child_that_breaks_the_rules_of_the_wire_is_ended_and_the_parent_lives(mode):
    async with open_child(evil(mode)) as channel:
        with pytest.raises(ProtocolError) as broken:
            await channel.listen_once("never sent")
        assert broken.value.pid == channel.pid
        assert not channel.active
        with pytest.raises(ProtocolError):
            await channel.request("anything")
        with pytest.raises(ProtocolError):
            await channel.send("anything")
        with anyio.fail_after(5):
            while is_alive(channel.pid):
                await anyio.sleep(0.001)
        with anyio.fail_after(5):
            while channel.returncode is None:
                await anyio.sleep(0.001)
        with pytest.raises(ProtocolError) as known:  # now that it is dead
            await channel.listen_once()
        assert known.value.returncode == channel.returncode


@pytest.mark.stress
@pytest.mark.fault(54)
@pytest.mark.wire("A7")
async def test_the_good_lines_before_the_bad_one_are_delivered():
    async with open_child(evil("reply-then-garbage")) as channel:
        await channel.listen_once("ready")
        assert await channel.request("anything") == "first"
        with pytest.raises(ProtocolError):
            await channel.listen_once("ready")


@pytest.mark.fault(68)
async def test_an_envelope_without_result_or_error_breaks_the_rules():
    async with open_child(evil("broken-envelope")) as channel:
        await channel.listen_once("ready")
        with pytest.raises(ProtocolError, match="neither a request nor a reply"):
            await channel.request("anything")


@pytest.mark.parametrize(
    ("mode", "type"),
    [
        ("blank-lines", "ready"),
        ("crlf", "ready"),
        ("duplicate-keys", "ready"),
        ("drip", "after"),
        ("unknown-type", "ready"),
        ("ready+message", "after"),
        ("no-type", "ready"),
        ("type-is-a-number", "ready"),
        ("node-message", "ready"),
    ],
)
@pytest.mark.fault(8)
@pytest.mark.fault(65)
@pytest.mark.fault(67)
async def test_what_is_strange_but_allowed_is_received(mode, type):
    async with open_child(evil(mode)) as channel:
        assert (await channel.listen_once(type))["type"] == type
        assert channel.active


@pytest.mark.parametrize("mode", ["unknown-id", "strange-id", "chatter"])
@pytest.mark.fault(40)
@pytest.mark.fault(69)
async def test_replies_that_nobody_asked_for_are_counted_and_harm_nothing(mode):
    async with open_child(evil(mode)) as channel:
        await channel.listen_once("ready")
        assert await channel.request("anything") == "honest"
        assert channel.statistics().late_replies >= 1


@pytest.mark.fault(68)
@pytest.mark.wire("A9")
async def test_messages_of_node_itself_never_reach_the_user_and_a_handle_is_refused():
    handle = '{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"type":"with-socket"}}\n'
    child = evil(write('{"cmd":"NODE_FOO"}\n' + handle), read(), answer('{"type":"refused"}\n'), serve())
    async with open_child(child) as channel:
        with channel.listen() as messages:
            assert (await anext(messages))["type"] == "refused"
        assert channel.statistics().kept == 0


@pytest.mark.stress
@pytest.mark.wire("A6")
@pytest.mark.fault(55)
async def test_half_a_line_of_a_dead_child_is_told_with_its_length():
    async with open_child(evil("half-line")) as channel:
        with pytest.raises(ChannelClosed, match="11 bytes into a message") as closed:
            await channel.listen_once("ready")
    assert (closed.value.truncated, closed.value.returncode) == (11, 0)
    assert type(closed.value) is ChannelClosed


@pytest.mark.fault(56)
@pytest.mark.fault(57)
async def test_an_endless_line_ends_at_the_limit_and_is_never_cut_and_delivered():
    async with open_child(evil("endless-line"), max_message=1_000_000) as channel:
        with pytest.raises(MessageTooLarge, match="1000000"):
            await channel.listen_once()
        assert channel.statistics().kept == 0


@pytest.mark.fault(57)
async def test_a_message_of_exactly_the_limit_is_delivered():
    line = '{"type":"x","data":"' + "y" * 1000 + '"}'
    async with open_child(evil(write(line + "\n"), serve()), max_message=len(line)) as channel:
        assert len((await channel.listen_once("x"))["data"]) == 1000
    async with open_child(evil(write(line + "\n"), serve()), max_message=len(line) - 1) as channel:
        with pytest.raises(MessageTooLarge):
            await channel.listen_once("x")


@pytest.mark.parametrize(
    ("last", "code", "words"),
    [
        (exit_with(0), 0, "exited with code 0"),
        (exit_with(7), 7, "exited with code 7"),
        (kill_self(), -9, "killed by SIGKILL"),
        (kill_self(11), -11, "killed by SIGSEGV"),
    ],
)
@pytest.mark.wire("C1")
@pytest.mark.fault(16)
@pytest.mark.fault(18)
async def test_the_end_of_the_child_is_told_with_code_or_signal_and_its_last_words(last, code, words):
    child = evil(write(READY), step("print", 2, "last words\n"), last)
    async with open_child(child, stderr="capture") as channel:
        await channel.listen_once("ready")
        with pytest.raises(ChannelClosed, match=words) as closed:
            await channel.listen_once("ready")
        assert channel.returncode == code
    assert (closed.value.returncode, closed.value.signal) == (code, -code if code < 0 else None)
    assert "last words" in closed.value.stderr


@pytest.mark.stress
@pytest.mark.fault(36)
@pytest.mark.fault(77)
async def test_a_death_is_seen_although_a_grandchild_holds_the_channel():
    async with open_child(evil("fork-then-die")) as channel:
        await channel.listen_once("ready")
        with anyio.fail_after(5), pytest.raises(ChannelClosed, match="code 3"):
            await channel.request("anything")


@pytest.mark.fault(39)
@pytest.mark.fault(77)
@pytest.mark.parametrize("mode", ["close-but-live", "close-when-asked"])
async def test_a_child_that_closes_the_channel_and_lives_is_as_good_as_gone(mode):
    async with open_child(evil(mode)) as channel:
        await channel.listen_once("ready")
        with anyio.fail_after(5), pytest.raises(ChannelClosed, match="and lives") as closed:
            await channel.request("anything")
        assert closed.value.returncode is None
        assert channel.returncode is None
        await channel.destroy(grace=0.1)
    assert channel.returncode in (-9, -15)


@pytest.mark.stress
@pytest.mark.wire("C7")
async def test_a_signal_is_no_end_and_an_end_is_no_silence():
    """`active` and `returncode` tell what became of the child, not what was sent to it, nor what is left to be read."""
    stubborn = evil(step("ignore", signal.SIGTERM), write(READY), read(), answer(READY), kill_self())
    async with open_child(stubborn) as channel:
        await channel.listen_once("ready")
        os.kill(channel.pid, signal.SIGTERM)
        assert channel.active
        await channel.send("go on")
        with anyio.fail_after(5):
            while channel.active:
                await checkpoint()
        assert channel.returncode == -signal.SIGKILL
        await channel.listen_once("ready")
        with pytest.raises(ChannelClosed):
            await channel.listen_once("ready")


@pytest.mark.fault("S7")
async def test_the_last_words_of_a_child_are_fit_to_be_printed_and_bounded():
    deceiving = "\x1b]0;owned\x07\x1b[2J\rover\x00"
    child = evil(step("print", 2, "x" * 1000, 1000), step("print", 2, deceiving), exit_with(3))
    async with open_child(child, stderr="capture") as channel:
        with anyio.fail_after(20), pytest.raises(ChannelClosed) as closed:
            await channel.listen_once("never")
    told = closed.value.stderr
    assert told.endswith("x\\x1b]0;owned\\x07\\x1b[2J\\rover\\x00")
    assert all(character.isprintable() or character == "\n" for character in told)
    assert len(told) < 70_000


@pytest.mark.wire("C3")
@pytest.mark.wire("C4")
@pytest.mark.fault(26)
async def test_sending_to_a_dead_child_raises_the_end_and_never_an_oserror():
    async with open_child(evil("exit-when-asked")) as channel:
        await channel.listen_once("ready")
        with anyio.fail_after(5), pytest.raises(ChannelClosed, match="code 0"):
            while True:
                await channel.send("x", {"data": "y" * 1000})
        with pytest.raises(ChannelClosed, match="code 0"):
            await channel.notify("x")
        with pytest.raises(ChannelClosed, match="code 0"):
            channel.send_nowait("x")


@pytest.mark.fault(25)
async def test_a_child_that_dies_in_the_middle_of_a_large_message_ends_the_send():
    async with open_child(evil(write(READY), step("wait", 0.05), kill_self())) as channel:
        await channel.listen_once("ready")
        with anyio.fail_after(10), pytest.raises(ChannelClosed, match="SIGKILL"):
            while True:
                await channel.send("x", {"data": "y" * 5_000_000})


@pytest.mark.stress
@pytest.mark.fault(26)
async def test_the_end_tells_how_many_of_the_last_messages_nobody_read():
    async with open_child(evil(serve())) as channel:
        for _ in range(2):
            assert await channel.request("anything") == "honest"
        end = channel.listen_once("never sent")
        kill_unseen(channel.pid)
        channel.send_nowait("x")
        channel.request_many_nowait("x", [None] * 5, lambda answers, more: None)
        with anyio.fail_after(5), pytest.raises(ChannelClosed, match="SIGKILL") as closed:
            await end
        assert closed.value.unread == 6


@pytest.mark.fault(26)
async def test_of_what_was_left_in_the_socket_only_the_last_message_is_certain():
    async with open_child(evil(write(READY), pause())) as channel:
        await channel.listen_once("ready")
        end = channel.listen_once("never sent")
        for _ in range(3):
            await channel.send("x")
        while channel.statistics().unsent_bytes:
            await anyio.lowlevel.checkpoint()
        kill_unseen(channel.pid)
        with anyio.fail_after(5), pytest.raises(ChannelClosed, match="SIGKILL") as closed:
            await end
        assert closed.value.unread == 1


@pytest.mark.fault(26)
async def test_what_was_read_is_not_called_unread():
    async with open_child(evil(write(READY), read(3), kill_self())) as channel:
        await channel.listen_once("ready")
        end = channel.listen_once("never sent")
        for _ in range(3):
            await channel.send("x")
        with anyio.fail_after(5), pytest.raises(ChannelClosed, match="SIGKILL") as closed:
            await end
        assert closed.value.unread == 0


SHUT = """
import os, socket, time
channel = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
channel.shutdown(socket.SHUT_RD)
channel.send(b'{"type":"shut"}\\n')
time.sleep(60)
"""


@pytest.mark.stress
async def test_a_peer_that_shuts_only_its_reading_end_is_as_good_as_gone():
    async with open_child([sys.executable, "-S", "-c", SHUT]) as channel:
        await channel.listen_once("shut")
        with anyio.fail_after(5), pytest.raises(ChannelClosed):
            await channel.request("anything")
        await channel.destroy(grace=0)


@pytest.mark.wire("E5")
@pytest.mark.wire("C3")
async def test_destroy_ends_the_child_and_every_wait_and_may_be_called_again():
    async with open_child(evil("deaf")) as channel:
        await channel.listen_once("ready")
        ended = []

        async def wait():
            with pytest.raises(ChannelClosed, match="this side") as closed:
                await channel.listen_once("never")
            ended.append(closed.value)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await wait_all_tasks_blocked()
            await channel.destroy(grace=0)
            await channel.destroy()
        assert channel.returncode == -9
        assert len(ended) == 1
    with pytest.raises(ChannelClosed):
        await channel.send("x")
    with pytest.raises(ChannelClosed):
        channel.listen_for("x", print)


@pytest.mark.wire("A5")
async def test_what_was_sent_before_leaving_arrives(tmp_path):
    child = "import sys\nfrom worker_ipc.blocking import open_parent\nwith open_parent() as channel:\n"
    child += "    count = sum(1 for _ in channel.listen('x'))\nopen(sys.argv[1], 'w').write(str(count))"
    async with open_child([sys.executable, "-c", child, str(tmp_path / "count")]) as channel:
        for _ in range(1000):
            await channel.send("x", {"data": "y" * 1000})
    assert (tmp_path / "count").read_text() == "1000"


@pytest.mark.wire("A10")
async def test_leaving_with_unread_messages_is_quiet(caplog):
    async with open_child(evil(write('{"type":"unread"}\n', 100), serve())) as channel:
        await channel.listen_once("unread")
    assert channel.returncode is not None
    # Ours: on a busy machine asyncio may have to say that something was slow.
    assert not [log for log in caplog.records if log.name == "worker_ipc" and log.levelno >= logging.WARNING]


class Mine(Exception):
    pass


@pytest.mark.wire("C5")
@pytest.mark.fault(51)
async def test_my_own_exception_leaves_as_it_is_and_the_child_is_gone():
    error = Mine()
    with pytest.raises(Mine) as raised:
        async with open_child(evil("ready-twice")) as channel:
            channel.listen_for("ready", print)
            channel.handle("x", print)
            await channel.listen_once("ready")
            raise error
    assert raised.value is error
    assert not is_alive(channel.pid)


async def test_the_end_of_the_channel_leaves_as_it_is_too():
    with pytest.raises(ChannelClosed, match="code 0"):
        async with open_child(evil("exit-at-once")) as channel:
            await channel.listen_once("ready")


async def test_a_group_of_my_own_leaves_as_it_is():
    with pytest.raises(ExceptionGroup) as raised:
        async with open_child(evil("ready-twice")):
            raise ExceptionGroup("mine", [Mine(), Mine()])
    assert len(raised.value.exceptions) == 2


class Broken:
    """A codec whose decoder fails as nobody foresaw."""

    pending = 0

    def __init__(self, error, where):
        self.error, self.where = error, where

    def encode(self, message):
        return b"\n"

    def decoder(self, max_message):
        return self

    def feed(self, data):
        return self.fail("feed")

    def eof(self):
        return self.fail("eof")

    def fail(self, where):
        if where == self.where:
            raise self.error
        return []


@pytest.mark.parametrize("where", ["feed", "eof"])
@pytest.mark.parametrize(
    "error", [LookupError("a bug"), FileNotFoundError(2, "a bug")], ids=lambda error: type(error).__name__
)
async def test_an_unforeseen_error_ends_the_channel_and_hangs_nobody(error, where, caplog):
    async with open_child(evil(write(READY), exit_with(0)), codec=Broken(error, where)) as channel:
        with anyio.fail_after(5), pytest.raises(ChannelClosed, match=r"could not be handled: .*a bug"):
            await channel.listen_once("ready")
        with pytest.raises(ChannelClosed) as caught:
            await channel.send("more")
    assert caught.value.__cause__ is error
    assert caught.value.__suppress_context__
    assert type(error).__name__ in caplog.text


@pytest.mark.fault(78)
async def test_descriptors_sent_along_stay_in_the_kernel():
    async with open_child(evil("descriptors"), stderr="devnull") as channel:
        await channel.listen_once("ready")


@pytest.mark.fault(10)
@pytest.mark.fault(90)
async def test_a_flood_on_stdout_and_stderr_disturbs_nothing():
    async with open_child(evil("banner"), stdout="devnull", stderr="capture") as channel:
        await channel.listen_once("ready")
        assert await channel.request("anything") == "honest"


@pytest.mark.fault(72)
@pytest.mark.wire("B3")
async def test_a_flood_that_nobody_reads_while_somebody_waits_ends_in_overrun():
    big = '{"type":"flood","data":"' + "x" * 100_000 + '"}\n'
    async with open_child(evil(read(), step("flood", big)), max_message=1_000_000) as channel:
        with channel.listen("flood"), anyio.fail_after(30), pytest.raises(Overrun, match="held"):
            await channel.request("never answered")


async def test_a_child_that_never_answers_can_be_left_at_once():
    async with open_child(evil(pause())) as channel:
        with pytest.raises(TimeoutError):
            await channel.request("anything", timeout=0.01)
        await channel.destroy(grace=0)


@pytest.mark.parametrize("how", ["destroy", "kill", "garbage"])
async def test_requests_that_wait_for_their_turn_to_be_written_end_with_the_channel(how):
    ended = []

    async def ask(channel):
        with pytest.raises(ChannelClosed):
            await channel.request("f", ["x" * 400_000])
        ended.append(how)

    steps = (write('{"type":"ready"}\n'), step("wait", 0.2), write("garbage\n")) if how == "garbage" else ()
    async with open_child(evil(*steps, pause())) as channel:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(ask, channel)
                await anyio.wait_all_tasks_blocked()
                assert channel.statistics().pending_requests == 1
                if how == "destroy":
                    await channel.destroy(0.1)
                elif how == "kill":
                    os.kill(channel.pid, signal.SIGKILL)
    assert len(ended) == 3


async def test_what_a_child_wrote_to_stderr_before_it_broke_the_rules_is_told():
    async with open_child(evil(step("print", 2, "why\n"), write("garbage\n"), pause()), stderr="capture") as channel:
        select.select([channel._core.stream._fd_in], [], [])  # both are there before the loop looks
        with pytest.raises(ProtocolError) as broken:
            await channel.listen_once("x")
    assert broken.value.stderr == "why\n"
