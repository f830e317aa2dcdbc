"""What a child writes to stderr never blocks it, never blocks us, and can't forge a line of a log."""

import os
import re
import subprocess
import sys
import threading

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_ipc import _stderr
from worker_ipc._forward import Forwarder
from worker_ipc._process import start_process
from worker_ipc._stderr import TAIL_SIZE, StderrPump, Tail, show

pytestmark = [pytest.mark.usefixtures("no_leaks")]

anyio_test = pytest.mark.anyio
SLOW = "worker_ipc: stderr is slow"


def python(code, **options):
    return start_process([sys.executable, "-S", "-c", code], channel=True, stdio=False, **options)


# --- a child that writes ---------------------------------------------------------------------------------------------


@anyio_test
async def test_by_default_it_is_passed_on_and_kept(capfd):
    async with python("import os; os.write(2, b'hello\\n')") as process:
        await process.wait()
        assert process.stderr == "hello\n"
    assert capfd.readouterr().err == "hello\n"


@anyio_test
async def test_it_is_passed_on_while_the_child_lives():
    """A forwarder that is slow to notice would hold the words back until the child is dead."""
    code = "import os; os.write(2, b'still here'); os.read(int(os.environ['NODE_CHANNEL_FD']), 1)"
    async with python(code, stderr="capture") as process:
        with anyio.fail_after(10):
            while process.stderr != "still here":
                await anyio.sleep(0.001)
        assert process.alive


@anyio_test
async def test_captured_is_kept_and_not_passed_on(capfd):
    async with python("import os; os.write(2, b'hello\\n')", stderr="capture") as process:
        await process.wait()
        assert process.stderr == "hello\n"
    assert capfd.readouterr().err == ""


@anyio_test
async def test_inherited_is_passed_on_by_the_kernel_and_not_kept(capfd):
    async with python("import os; os.write(2, b'hello\\n')", stderr="inherit") as process:
        await process.wait()
        assert process.stderr == ""
    assert capfd.readouterr().err == "hello\n"


@anyio_test
@pytest.mark.fault(10)
@pytest.mark.fault(90)
async def test_a_flood_on_both_streams_ends_and_its_tail_is_kept():
    code = (
        "import os\n"
        "line = b'x' * 99 + b'\\n'\n"
        "for _ in range(100): os.write(2, line * 500); os.write(1, line * 500)\n"
        "os.write(2, b'the end')\n"
    )
    async with python(code, stdout="devnull", stderr="capture") as process:
        with anyio.fail_after(20):
            assert await process.wait() == 0
        assert process.stderr.endswith("x\nthe end")
        assert len(process.stderr) <= TAIL_SIZE + 100
        assert process.stderr.startswith("[49344")  # 5 MB less 64 KiB


@anyio_test
@pytest.mark.fault(90)
async def test_a_child_that_floods_until_the_end_is_ended():
    async with python("import os\nwhile True: os.write(2, b'x' * 65536)", stderr="capture") as process:
        with anyio.fail_after(10):
            await process.end(lambda: None, grace=0.2)
        assert not process.alive


@anyio_test
@pytest.mark.fault(36)
async def test_a_grandchild_that_keeps_writing_delays_nothing():
    code = (
        "import os\n"
        "if os.fork() == 0:\n"
        "    os.setsid(); fd = int(os.environ['NODE_CHANNEL_FD']); os.write(fd, b'%d' % os.getpid())\n"
        "    while True: os.write(2, b'x' * 65536)\n"
        "os.read(int(os.environ['NODE_CHANNEL_FD']), 1); os._exit(3)"
    )
    async with python(code, stderr="capture") as process:
        await anyio.wait_readable(process.fd_in)
        grandchild = int(os.read(process.fd_in, 20))
        os.write(process.fd_out, b".")
        with anyio.fail_after(5):
            assert await process.wait() == 3
    # Leaving has closed the pipe, so that the grandchild, which is its own master, now writes to nobody.
    pid, status = await anyio.to_thread.run_sync(os.waitpid, grandchild, 0)
    assert pid == grandchild
    assert status != 0


@pytest.mark.fault(36)
def test_draining_ends_although_the_writer_does_not():
    endless = os.open("/dev/zero", os.O_RDONLY)
    pump = StderrPump(endless, None)
    pump.drain()
    assert not pump.at_end
    assert pump.tail.total >= 1024 * 1024  # more than a pipe holds: nothing of a dead child is missed
    os.close(endless)


@anyio_test
async def test_characters_split_between_two_reads_are_whole(monkeypatch):
    monkeypatch.setattr(_stderr, "_CHUNK", 1)
    async with python("import os; os.write(2, 'žluťoučký 🐎'.encode())", stderr="capture") as process:
        await process.wait()
        assert process.stderr == "žluťoučký 🐎"


# --- the text of it --------------------------------------------------------------------------------------------------


@pytest.mark.fault("S7")
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\n\ttext ", "plain\n\ttext "),
        (b"one\r\ntwo", "one\ntwo"),
        (b"over\rwrite", "over\\rwrite"),
        (b"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        (b"\x00\x07\x08\x7f", "\\x00\\x07\\x08\\x7f"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("\x9b2J".encode(), "\\x9b2J"),  # CSI in one character
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),  # would show it backwards
        ("a\u2028b\u0085c\x0bd\x0ce".encode(), "a\\u2028b\\x85c\\x0bd\\x0ce"),  # splitlines cuts at each of them
        ("naïve 日本語 🐎".encode(), "naïve 日本語 🐎"),
    ],
)
def test_what_could_deceive_is_escaped(data, text):
    assert show(data) == text


@pytest.mark.fault("S7")
@given(st.binary())
def test_any_bytes_become_text_that_is_safe(data):
    text = show(data)
    text.encode()
    assert all(character.isprintable() or character in "\n\t" for character in text)
    assert len(text.splitlines()) <= data.count(b"\n") + 1


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 50))
def test_the_tail_is_the_end_of_everything(chunks, limit):
    tail = Tail(limit)
    for chunk in chunks:
        tail.add(chunk)
        assert sum(map(len, tail._chunks)) < limit + 41
    everything = b"".join(chunks)
    assert tail.total == len(everything)
    if len(everything) <= limit:
        assert tail.text() == show(everything)
    else:
        note, _, text = tail.text().partition("\n")
        assert note == f"[{len(everything) - limit} bytes before this are not kept]"
        assert show(everything).endswith(text)


def test_a_cut_inside_a_character_is_no_error_of_the_child():
    tail = Tail(4)
    tail.add("日本".encode())
    assert tail.text() == "[2 bytes before this are not kept]\n本"


# --- our own stderr --------------------------------------------------------------------------------------------------


class Reader:
    """A pipe that stands for our stderr, with a reader that reads when it is told to."""

    def __init__(self):
        self.fd, self.write_end = os.pipe()

    def read_all(self, size):
        data = b""
        while len(data) < size:
            data += os.read(self.fd, 65536)
        return data

    def close(self):
        os.close(self.fd)
        os.close(self.write_end)


@pytest.fixture
def reader():
    reader = Reader()
    yield reader
    reader.close()


def test_what_can_be_written_is_written_at_once(reader):
    forward = Forwarder(reader.write_end)
    forward(b"a" * 10_000)
    forward(b"b")
    assert reader.read_all(10_001) == b"a" * 10_000 + b"b"
    assert not [thread for thread in threading.enumerate() if thread.name == SLOW]


@pytest.mark.fault(90)
def test_a_reader_that_does_not_read_stops_nobody_and_misses_nothing_within_the_backlog(reader):
    forward = Forwarder(reader.write_end)
    text = b"".join(b"%07d\n" % n for n in range(40_000))  # 320 KB into a pipe of 64
    for start in range(0, len(text), 10_000):
        forward(text[start : start + 10_000])  # would hang here
    assert reader.read_all(len(text)) == text
    wait_for_threads()
    forward(b"afterwards")
    assert reader.read_all(10) == b"afterwards"


@pytest.mark.fault(90)
def test_beyond_the_backlog_bytes_are_dropped_and_counted(reader):
    forward = Forwarder(reader.write_end, backlog=1000)
    for _ in range(200):
        forward(b"x" * 1000)
    data, dropped = b"", 0
    while data.count(b"x") + dropped < 200_000:  # every byte is either here or counted
        data += os.read(reader.fd, 65536)
        dropped = sum(map(int, re.findall(rb"\n\[worker_ipc: (\d+) bytes of stderr dropped\]\n", data)))
    assert data.count(b"x") + dropped == 200_000
    assert dropped > 0
    wait_for_threads()


def test_nobody_to_read_it_is_no_error(reader):
    forward = Forwarder(reader.write_end)
    os.close(reader.fd)
    forward(b"into the void")
    reader.fd = os.dup(reader.write_end)


def test_a_descriptor_that_is_closed_is_no_error():
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    Forwarder(write_end)(b"into the void")


PAUSED = """
import anyio, sys
from worker_ipc._process import start_process
flood = 'import os; [os.write(2, b"x" * 65536) for _ in range(100)]'
async def main():
    async with start_process([sys.executable, '-S', '-c', flood], channel=True, stdio=False) as process:
        print(await process.wait())
anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.fault(90)
def test_a_paused_terminal_blocks_neither_the_loop_nor_the_child_nor_the_exit(anyio_backend_name):
    """A program whose own stderr nobody reads, with a child that floods it."""
    command = [sys.executable, "-c", PAUSED, anyio_backend_name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout.read() == b"0\n"
        assert parent.wait(10) == 0


MOVED = """
import os, sys, threading, time
from worker_ipc._forward import forward_stderr
forward_stderr(b"x" * 300_000)
while forward_stderr._waiting:  # the thread has not begun to write
    time.sleep(0.001)
os.close(2)
file = open(sys.argv[1], "w")
assert file.fileno() == 2
forward_stderr(b"too late")
print("moved", flush=True)
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join()
"""


@pytest.mark.fault(12)
def test_what_waits_for_a_stderr_that_is_closed_goes_into_no_other_file(tmp_path):
    path = tmp_path / "innocent"
    command = [sys.executable, "-c", MOVED, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"moved\n"
        assert parent.communicate(timeout=30) == (b"", b"x" * 300_000)
    assert parent.returncode == 0
    assert path.read_text() == ""


COPIED = """
import anyio, os, sys, threading, time
from worker_ipc._forward import forward_stderr
from worker_ipc._process import start_process
async def main():
    words = 'import os; os.write(2, b"last words of the child of the copy")'
    async with start_process([sys.executable, '-S', '-c', words], channel=True, stdio=False) as process:
        await process.wait()
forward_stderr(b"x" * 300_000)
while forward_stderr._waiting:  # the thread has not begun to write
    time.sleep(0.001)
[slow] = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
if (pid := os.fork()) == 0:
    anyio.run(main, backend=sys.argv[1])
    print("forwarded", flush=True)
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    os._exit(0)
slow.join()
os.waitpid(pid, 0)
"""


@pytest.mark.fault(90)
def test_a_copy_made_while_stderr_is_slow_passes_on_what_its_own_children_say(anyio_backend_name):
    """The copy has no thread that would write it; what waited at the fork is written once, by the original."""
    command = [sys.executable, "-W", "ignore", "-c", COPIED, anyio_backend_name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"forwarded\n"  # stderr is full until here
        _, err = parent.communicate(timeout=30)
    assert parent.returncode == 0
    assert b"last words of the child of the copy" in err
    assert err.count(b"x") == 300_000


def wait_for_threads():
    for thread in threading.enumerate():
        if thread.name == SLOW:
            thread.join(5)
            assert not thread.is_alive()
