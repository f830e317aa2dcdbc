# ruff: noqa: ASYNC230 - small files, and nothing else runs in these loops
"""Exactly 0, 1, 2, the channel and the lifeline reach a child; none of them is anyone else's by accident."""

import json
import os
import shutil
import socket
import subprocess
import sys

import anyio
import pytest

from worker_ipc._descriptors import lift, make_pipe, make_socketpair
from worker_ipc._orphans import SUPPORTED
from worker_ipc._process import start_process

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

REPORT = """
import json, os, sys
target = lambda fd: os.readlink(f"/proc/self/fd/{fd}")
fds = {}
for name in os.listdir("/proc/self/fd"):
    try: fds[name] = target(name)
    except OSError: pass
text = json.dumps({
    "fds": fds, "env": dict(os.environ), "argv": sys.argv,
    "blocking": {name: os.get_blocking(int(name)) for name in fds},
})
os.write(int(os.environ["NODE_CHANNEL_FD"]) if "NODE_CHANNEL_FD" in os.environ else 1, text.encode())
"""


async def report(*arguments, channel=True, **options):
    """Start a child that tells what it has, and return that."""
    command = [sys.executable, "-S", "-c", REPORT, *arguments]
    async with start_process(command, channel=channel, stdio=not channel, **options) as process:
        assert await process.wait() == 0
        return json.loads(os.read(process.fd_in, 1_000_000))


@pytest.mark.fault("S3")
async def test_a_child_with_a_channel_has_exactly_its_own_descriptors():
    inheritable = [os.dup(0) for _ in range(3)]
    for fd in inheritable:
        os.set_inheritable(fd, True)  # a C library may leave such ones behind
    try:
        child = await report()
    finally:
        for fd in inheritable:
            os.close(fd)
    channel = child["env"]["NODE_CHANNEL_FD"]
    assert child["fds"][channel].startswith("socket:")
    rest = sorted(target for fd, target in child["fds"].items() if fd not in {"0", "1", "2", channel})
    assert [target.partition(":")[0] for target in rest] == ["pipe"] * SUPPORTED
    assert len(child["fds"]) == 4 + SUPPORTED


@pytest.mark.fault("S3")
async def test_a_child_on_pipes_has_exactly_its_own_descriptors():
    child = await report(channel=False)
    assert {"0", "1", "2"} < set(child["fds"]) if SUPPORTED else {"0", "1", "2"} == set(child["fds"])
    assert len(child["fds"]) == 3 + SUPPORTED


async def test_the_childs_ends_block_and_ours_do_not():
    for channel in (True, False):
        child = await report(channel=channel)
        assert all(child["blocking"].values())
        async with start_process(["cat"], channel=channel, stdio=not channel) as process:
            assert not os.get_blocking(process.fd_in)
            assert not os.get_blocking(process.fd_out)


async def test_by_default_there_is_nothing_to_read_and_stderr_is_a_pipe():
    child = await report()
    assert child["fds"]["0"] == "/dev/null"
    assert child["fds"]["1"] == os.readlink("/proc/self/fd/1")
    assert child["fds"]["2"].startswith("pipe:")


async def test_standard_streams_go_where_they_are_sent(tmp_path):
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        child = await report(stdin="inherit", stdout=out, stderr=err.fileno())
        assert child["fds"]["0"] == os.readlink("/proc/self/fd/0")
        assert child["fds"]["1"] == str(tmp_path / "out")
        assert child["fds"]["2"] == str(tmp_path / "err")
    child = await report(stdout="devnull", stderr="inherit")
    assert child["fds"]["1"] == "/dev/null"
    assert child["fds"]["2"] == os.readlink("/proc/self/fd/2")


@pytest.mark.fault("S2")
async def test_the_channel_has_no_name_and_no_port():
    async with start_process(["sleep", "1000"], channel=True, stdio=False) as process:
        with socket.socket(fileno=os.dup(process.fd_in)) as end:
            assert end.family == socket.AF_UNIX
            assert end.getsockname() == end.getpeername() == ""
            inode = str(os.fstat(process.fd_in).st_ino)
        async with await anyio.open_file("/proc/net/unix") as table:
            lines = [line.split() for line in await table.readlines()]
        [ours] = [line for line in lines if inode in line]
        assert len(ours) == 7  # an eighth column would be a path


# --- environment -----------------------------------------------------------------------------------------------------


async def test_the_environment_names_the_channel_and_no_other(monkeypatch):
    monkeypatch.setenv("NODE_CHANNEL_FD", "77")
    monkeypatch.setenv("NODE_CHANNEL_SERIALIZATION_MODE", "advanced")
    monkeypatch.setenv("NODE_UNIQUE_ID", "1")
    env = (await report())["env"]
    assert env["NODE_CHANNEL_FD"] != "77"
    assert env["NODE_CHANNEL_SERIALIZATION_MODE"] == "json"
    assert "NODE_UNIQUE_ID" not in env
    env = (await report(channel=False))["env"]
    assert not {"NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "NODE_UNIQUE_ID"} & set(env)


@pytest.mark.fault("S5")
async def test_the_environment_is_the_parents_and_yours(monkeypatch):
    monkeypatch.setenv("WORKER_TEST_SECRET", "s3cret")
    monkeypatch.setenv("WORKER_TEST_COLOUR", "red")
    env = (await report(env={"WORKER_TEST_COLOUR": "blue", "WORKER_TEST_MORE": "1"}))["env"]
    assert env["WORKER_TEST_SECRET"] == "s3cret"
    assert (env["WORKER_TEST_COLOUR"], env["WORKER_TEST_MORE"]) == ("blue", "1")


@pytest.mark.fault("S5")
async def test_an_allow_list_keeps_secrets_here(monkeypatch):
    monkeypatch.setenv("WORKER_TEST_SECRET", "s3cret")
    env = (await report(inherit_env=["PATH", "WORKER_TEST_ABSENT"], env={"A": "1"}))["env"]
    assert set(env) - {"LC_CTYPE"} == {"PATH", "A", "NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE"}
    env = (await report(inherit_env=False))["env"]
    assert set(env) - {"LC_CTYPE"} == {"NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE"}
    with pytest.raises(TypeError, match="collection of names"):
        await report(inherit_env="PATH")


@pytest.mark.fault("S5")
async def test_nothing_is_added_to_the_command_line():
    assert (await report("one", "two"))["argv"] == ["-c", "one", "two"]


# --- grandchildren ---------------------------------------------------------------------------------------------------


LEAK = """
import os, sys, anyio
from worker_ipc._process import start_process
script = (
    "const {execFileSync} = require('child_process');"
    "process.send(execFileSync('sh', ['-c', 'ls -l /proc/self/fd']).toString());"
    "process.on('disconnect', () => {})"
)
async def main():
    async with start_process(["node", "-e", script], channel=True, stdio=False) as process:
        await anyio.wait_readable(process.fd_in)
        text = os.read(process.fd_in, 100_000).decode()
        # Only now: a process has started, for us, a moment before the kernel shows its environment.
        with open(f"/proc/{process.pid}/environ") as file:
            number = dict(line.partition("=")[::2] for line in file.read().split("\\0"))["NODE_CHANNEL_FD"]
        channel = os.readlink(f"/proc/{process.pid}/fd/{number}")
        assert "socket:[" in text
        assert channel.startswith("socket:[") and channel not in text, (channel, text)
        await process.end(lambda: os.close(process.fd_in), grace=30)
        assert process.returncode == 0, process
anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.fault("S4")
@pytest.mark.node
@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
def test_the_children_of_a_node_child_do_not_get_the_channel(anyio_backend_name):
    # In a parent of its own: Node hides numbers up to 15, and this one may have more files open.
    subprocess.run([sys.executable, "-c", LEAK, anyio_backend_name], check=True, timeout=30)


# --- a parent that lacks the standard ones ---------------------------------------------------------------------------

CLOSED = """
import json, os, sys, anyio
from worker_ipc._process import start_process
report, to = sys.argv[2], int(sys.argv[3])
for fd in json.loads(sys.argv[4]): os.close(fd)
async def main():
    async with start_process([sys.executable, "-S", "-c", report], channel=True, stdio=False) as process:
        assert await process.wait() == 0, process.stderr
        own = [process.fd_in, process.fd_out, process._handle.descriptor.number, process._ends.stderr.number]
        os.write(to, json.dumps({"child": json.loads(os.read(process.fd_in, 1_000_000)), "own": own}).encode())
anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.fault(12)
@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]], ids=str)
def test_a_parent_without_standard_descriptors(closed, anyio_backend_name):
    result, write_end = os.pipe()
    try:
        subprocess.run(
            [sys.executable, "-c", CLOSED, anyio_backend_name, REPORT, str(write_end), json.dumps(closed)],
            pass_fds=[write_end],
            check=True,
            timeout=30,
        )
    finally:
        os.close(write_end)
        with open(result, "rb") as file:
            text = file.read()
    told = json.loads(text)
    fds, env = told["child"]["fds"], told["child"]["env"]
    assert int(env["NODE_CHANNEL_FD"]) >= 3
    assert fds[env["NODE_CHANNEL_FD"]].startswith("socket:")
    assert {"0", "1", "2"} < set(fds)
    assert fds["0"] == "/dev/null"
    assert 1 not in closed or fds["1"] == "/dev/null"
    assert min(told["own"]) >= 3  # a `print` in the parent can't reach a peer


@pytest.mark.fault(12)
def test_a_file_that_took_the_number_of_stderr_is_not_written_to(tmp_path, anyio_backend_name):
    code = (
        "import os, sys, anyio; from worker_ipc._process import start_process\n"
        "os.close(2); file = open(sys.argv[2], 'w'); assert file.fileno() == 2\n"
        "async def main():\n"
        "    async with start_process(['sh', '-c', 'echo oops >&2'], channel=True, stdio=False) as process:\n"
        "        await process.wait(); assert process.stderr == 'oops\\n'\n"
        "anyio.run(main, backend=sys.argv[1])\n"
    )
    path = tmp_path / "innocent"
    subprocess.run([sys.executable, "-c", code, anyio_backend_name, path], check=True, timeout=30)
    assert path.read_text() == ""


@pytest.mark.fault(12)
def test_a_file_that_takes_the_number_of_stderr_while_a_child_lives_is_not_written_to(tmp_path, anyio_backend_name):
    code = (
        "import os, sys, anyio; from worker_ipc._process import start_process\n"
        "async def main():\n"
        "    command = [sys.executable, '-S', '-c', sys.argv[3]]\n"
        "    async with start_process(command, channel=True, stdio=False) as process:\n"
        "        os.close(2); file = open(sys.argv[2], 'w'); assert file.fileno() == 2\n"
        "        os.write(process.fd_out, b'go')\n"
        "        await process.wait(); assert process.stderr == 'oops'\n"
        "anyio.run(main, backend=sys.argv[1])\n"
    )
    child = "import os; os.read(int(os.environ['NODE_CHANNEL_FD']), 9); os.write(2, b'oops')"
    path = tmp_path / "innocent"
    subprocess.run([sys.executable, "-c", code, anyio_backend_name, path, child], check=True, timeout=30)
    assert path.read_text() == ""


# --- the tools -------------------------------------------------------------------------------------------------------


def test_lift_moves_only_what_is_too_low_and_closes_it():
    high = os.open(os.devnull, os.O_RDONLY)
    assert lift(high) == high
    os.close(high)
    code = (
        "import os; from worker_ipc._descriptors import lift\n"
        "os.close(0); assert os.open('/dev/null', 0) == 0\n"
        "high = lift(0); assert high > 2 and not os.get_inheritable(high)\n"
        "try: os.fstat(0)\n"
        "except OSError: print('ok')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30).stdout == b"ok\n"


@pytest.mark.parametrize("make", [make_pipe, make_socketpair])
def test_an_end_is_closed_once_and_never_by_mistake(make):
    first, second = make()
    assert first.is_ours()
    assert second.is_ours()
    os.close(first.number)  # a borrower closed it,
    assert os.open(os.devnull, os.O_RDONLY) == first.number  # and somebody else got the number
    first.close()
    os.fstat(first.number)
    os.close(first.number)
    second.close()
    second.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(second.number)


def test_a_muted_end_keeps_its_number_busy():
    first, second = make_socketpair()
    first.mute()
    assert os.readlink(f"/proc/self/fd/{first.number}") == os.devnull
    assert os.read(second.number, 1) == b""
    first.close()  # it is not ours any more
    os.close(first.number)
    second.close()
