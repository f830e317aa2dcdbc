"""Ctrl-C in a terminal belongs to the parent: the children are in a session of their own."""

import os
import pty
import subprocess
import sys

import anyio
import pytest

from worker_ipc._process import start_process

pytestmark = pytest.mark.usefixtures("no_leaks")

IN_A_TERMINAL = """
import anyio, os, signal, sys
from worker_ipc._process import start_process
os.open(sys.argv[1], os.O_RDWR)                       # a session leader's first terminal becomes its own
child = '''
import os, signal
fd = int(os.environ["NODE_CHANNEL_FD"])
signal.signal(signal.SIGINT, lambda *_: os._exit(1))
os.write(fd, b"ready")
os.read(fd, 1)
os.write(fd, b"unharmed")
'''
async def receive(process):
    await anyio.wait_readable(process.fd_in)
    return os.read(process.fd_in, 99)
async def main():
    with anyio.open_signal_receiver(signal.SIGINT) as signals:
        async with start_process([sys.executable, "-S", "-c", child], channel=True, stdio=False) as process:
            assert await receive(process) == b"ready"
            print("press", flush=True)
            async for _ in signals:
                break
            os.write(process.fd_out, b".")
            print((await receive(process)).decode(), await process.wait(), flush=True)
anyio.run(main, backend=sys.argv[2])
"""


@pytest.mark.wire("E3")
@pytest.mark.fault(93)
def test_ctrl_c_reaches_the_parent_and_not_the_child(anyio_backend_name):
    ours, terminal = pty.openpty()
    command = [sys.executable, "-c", IN_A_TERMINAL, os.ttyname(terminal), anyio_backend_name]
    try:
        with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as parent:
            assert parent.stdout.readline() == b"press\n"
            os.write(ours, b"\x03")
            assert parent.stdout.readline() == b"unharmed 0\n"
            assert parent.wait(10) == 0
    finally:
        os.close(ours)
        os.close(terminal)


@pytest.mark.anyio
@pytest.mark.fault(93)
async def test_a_child_leads_its_own_session_and_group():
    async with start_process(["sleep", "1000"], channel=True, stdio=False) as process:
        assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid


INTERRUPTED = """
import anyio, os, signal, sys
from worker_ipc._process import start_process
async def main():
    async with start_process(["sh", "-c", "trap '' TERM INT; echo >&2; sleep 1000"], channel=True, stdio=False,
                             stderr="capture") as process:
        while not process.stderr:
            await anyio.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
        await process.end(lambda: os.kill(os.getpid(), signal.SIGINT), grace=30)
try:
    anyio.run(main, backend=sys.argv[1])
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.fault(93)
def test_ctrl_c_again_while_a_child_is_ended_skips_the_grace(anyio_backend_name):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, anyio_backend_name], capture_output=True, timeout=20)
    assert done.stdout == b"interrupted\n"


@pytest.mark.anyio
@pytest.mark.fault(93)
async def test_a_child_may_be_interrupted_by_name():
    async with start_process(["sleep", "1000"], channel=True, stdio=False) as process:
        os.kill(process.pid, 2)
        with anyio.fail_after(10):
            assert await process.wait() == -2
