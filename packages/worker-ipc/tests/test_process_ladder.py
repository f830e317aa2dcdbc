"""A child is asked, told, and made to end, in that order, within a bound, whatever state it is in."""

import logging
import os
import signal
import sys

import anyio
import anyio.lowlevel
import pytest

from worker_ipc import _ladder
from worker_ipc._process import start_process
from worker_testkit import state

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


def python(code, **options):
    return start_process([sys.executable, "-S", "-c", code], channel=True, stdio=False, **options)


async def ready(process):
    """Wait for the child's first byte."""
    with anyio.fail_after(10):
        await anyio.wait_readable(process.fd_in)
    return os.read(process.fd_in, 100)


CHANNEL = "import os, signal, time; fd = int(os.environ['NODE_CHANNEL_FD']); "
OBEDIENT = CHANNEL + "os.write(fd, b'.'); os.read(fd, 1)"  # leaves when the channel ends
BUSY = CHANNEL + "os.write(fd, b'.'); time.sleep(1000)"
STUBBORN = CHANNEL + "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(fd, b'.'); time.sleep(1000)"
STUCK_IN_C = CHANNEL + "os.write(fd, b'.'); sum(range(10**12))"
STUCK_AND_DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STUCK_IN_C


async def test_asking_is_enough_for_a_child_that_listens():
    async with python(OBEDIENT) as process:
        await ready(process)
        with anyio.fail_after(10):
            await process.end(lambda: os.close(process.fd_in))
        assert process.returncode == 0


@pytest.mark.wire("E2")
async def test_sigterm_ends_a_child_that_does_not_listen():
    async with python(BUSY) as process:
        await ready(process)
        start = anyio.current_time()
        await process.end(lambda: os.close(process.fd_in))
        assert process.returncode == -signal.SIGTERM
        assert _ladder.ASK_TIME <= anyio.current_time() - start < _ladder.ASK_TIME + 1


@pytest.mark.wire("E2")
@pytest.mark.fault(4)
@pytest.mark.fault(29)
@pytest.mark.fault(30)
@pytest.mark.parametrize("code", [STUBBORN, STUCK_AND_DEAF])
async def test_sigkill_ends_every_other_child_after_the_grace(code):
    async with python(code) as process:
        await ready(process)
        start = anyio.current_time()
        await process.end(lambda: None, grace=0.2)
        assert process.returncode == -signal.SIGKILL
        assert 0.2 <= anyio.current_time() - start < 1.2


async def test_no_grace_is_no_sigterm():
    handler = CHANNEL + "signal.signal(signal.SIGTERM, lambda *_: os._exit(1)); os.write(fd, b'.'); time.sleep(1000)"
    async with python(handler) as process:
        await ready(process)
        asked = []
        await process.end(lambda: asked.append(True), grace=0)
        assert asked == [True]
        assert process.returncode == -signal.SIGKILL


@pytest.mark.fault(31)
@pytest.mark.parametrize(("code", "returncode"), [(BUSY, -signal.SIGTERM), (STUBBORN, -signal.SIGKILL)])
async def test_a_stopped_child_is_ended_too(code, returncode):
    async with python(code) as process:
        await ready(process)
        os.kill(process.pid, signal.SIGSTOP)
        with anyio.fail_after(10):
            while state(process.pid) != "T":
                await anyio.lowlevel.checkpoint()
        await process.end(lambda: None, grace=0.4)
        assert process.returncode == returncode


@pytest.mark.wire("E3")
@pytest.mark.fault(36)
async def test_the_group_goes_with_the_child():
    code = "import os, time\nif os.fork() == 0: time.sleep(1000)\n" + STUBBORN
    async with python(code) as process:
        await ready(process)
        await process.end(lambda: None, grace=0)
        with anyio.fail_after(1):
            await anyio.wait_readable(process.fd_in)
        assert os.read(process.fd_in, 1) == b""  # so nobody holds the other end


@pytest.mark.fault(32)
async def test_a_child_that_cannot_be_killed_costs_a_bounded_time_and_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(_ladder, "KILL_TIME", 0.1)
    async with python(BUSY) as process:
        await ready(process)
        with monkeypatch.context() as powerless:
            powerless.setattr(signal, "pidfd_send_signal", lambda *_: None)
            powerless.setattr(os, "killpg", lambda *_: None)
            with anyio.fail_after(1), caplog.at_level(logging.WARNING, "worker_ipc"):
                await process.end(lambda: None, grace=0.1)
        assert process.alive
        assert process.returncode is None
        assert f"process {process.pid} is still there" in caplog.text
    assert process.returncode == -signal.SIGKILL  # once signals work again


@pytest.mark.fault(32)
async def test_one_that_outlives_its_block_is_reaped_when_the_next_is_started(monkeypatch):
    monkeypatch.setattr(_ladder, "KILL_TIME", 0.1)
    with monkeypatch.context() as powerless:
        powerless.setattr(signal, "pidfd_send_signal", lambda *_: None)
        powerless.setattr(os, "killpg", lambda *_: None)
        async with python(CHANNEL + "time.sleep(1000)", stderr="devnull") as process:
            pass
    assert process.alive
    os.kill(process.pid, signal.SIGKILL)  # or by its lifeline, which the block has closed
    with anyio.fail_after(10):
        while state(process.pid) != "Z":
            await anyio.lowlevel.checkpoint()
        async with start_process(["true"], channel=False, stdio=False) as other:
            await other.wait()
    assert state(process.pid) is None


@pytest.mark.fault(48)
async def test_ending_twice_is_ending_once():
    asked = []
    async with python(OBEDIENT) as process:
        await ready(process)
        await process.end(lambda: os.close(process.fd_in))
        await process.end(lambda: asked.append(True))
        process.kill()
        process.terminate()
    assert asked == []
    assert process.returncode == 0


@pytest.mark.fault(48)
async def test_an_impatient_caller_does_not_wait_for_a_patient_one():
    async with python(STUBBORN) as process:
        await ready(process)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: process.end(lambda: None, grace=1000))
                group.start_soon(lambda: process.end(lambda: None, grace=0.1))
        assert process.returncode == -signal.SIGKILL


async def test_asking_that_fails_does_not_stop_the_ladder(caplog):
    async with python(BUSY) as process:
        await ready(process)
        await process.end(lambda: 1 / 0, grace=0.2)
        assert process.returncode == -signal.SIGTERM
    assert "ZeroDivisionError" in caplog.text


async def test_ending_is_not_cancelled():
    async with python(STUBBORN) as process:
        await ready(process)
        returncodes = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            await process.end(lambda: None, grace=0.1)
            returncodes.append(process.returncode)
        assert returncodes == [-signal.SIGKILL]


@pytest.mark.fault(90)
async def test_a_child_blocked_on_its_own_output_is_ended():
    code = CHANNEL + "os.write(fd, b'.')\nwhile True: os.write(fd, b'x' * 65536)"
    async with python(code) as process:
        await ready(process)
        await process.end(lambda: None, grace=0.2)
        assert process.returncode == -signal.SIGTERM
