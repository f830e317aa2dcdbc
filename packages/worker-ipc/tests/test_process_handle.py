# ruff: noqa: ASYNC222 - thieves and foreign children act behind the back of the loop
"""A death is seen by the process handle, with or without a pidfd, even when somebody else took the status."""

import errno
import os
import select
import signal
import subprocess
import sys

import anyio
import pytest

from worker_ipc._handle import open_handle
from worker_ipc._process import start_process

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


def start(*command):
    return start_process(command, channel=True, stdio=False)


@pytest.fixture(params=["pidfd", "ENOSYS", "EPERM", "no such function"])
def kernel(request, monkeypatch):
    """A kernel that has pidfds, and the ways in which one may lack them."""

    def refuse(pid, flags=0):
        number = getattr(errno, request.param)
        raise OSError(number, os.strerror(number))

    if request.param == "no such function":
        monkeypatch.delattr(os, "pidfd_open")
    elif request.param != "pidfd":
        monkeypatch.setattr(os, "pidfd_open", refuse)


@pytest.mark.usefixtures("kernel")
class TestWithAnyKernel:
    async def test_the_status_is_told(self):
        async with start("sh", "-c", "exit 5") as process:
            with anyio.fail_after(10):
                assert await process.wait() == 5

    async def test_signals_arrive(self):
        async with start("sleep", "1000") as process:
            process.terminate()
            with anyio.fail_after(10):
                assert await process.wait() == -signal.SIGTERM

    async def test_leaving_kills_the_group(self):
        async with start("bash", "-c", "sleep 1000 & echo >&$NODE_CHANNEL_FD; wait") as process:
            with anyio.fail_after(10):
                await anyio.wait_readable(process.fd_in)
            assert os.read(process.fd_in, 1) == b"\n"
            await process.end(lambda: None, grace=0)
            with anyio.fail_after(1):
                await anyio.wait_readable(process.fd_in)
            assert os.read(process.fd_in, 1) == b""
        assert process.returncode == -signal.SIGKILL

    @pytest.mark.fault(95)
    async def test_a_stolen_status_is_unknown_and_no_hang(self):
        async with start("sleep", "1000") as process:
            os.kill(process.pid, signal.SIGKILL)
            assert os.waitpid(-1, 0)[0] == process.pid
            with anyio.fail_after(2):
                assert await process.wait() is None
            assert not process.alive
            assert process.returncode is None

    @pytest.mark.fault(95)
    async def test_an_ignored_sigchld_is_no_hang(self):
        before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            async with start("true") as process:
                with anyio.fail_after(2):
                    assert await process.wait() is None
            async with start("sleep", "1000") as process:
                with anyio.fail_after(2):
                    await process.end(lambda: None, grace=0.2)
                assert not process.alive
                assert process.returncode is None
        finally:
            signal.signal(signal.SIGCHLD, before)

    @pytest.mark.fault(92)
    async def test_nobody_is_signalled_once_the_child_was_reaped(self, monkeypatch):
        async with start("true") as process:
            await process.wait()
            assert_no_signals_from_now_on(monkeypatch)
            process.kill()
            process.terminate()
            await process.end(lambda: None)

    @pytest.mark.fault(92)
    @pytest.mark.fault(95)
    async def test_nobody_is_signalled_by_a_number_that_somebody_else_reaped(self, monkeypatch):
        """Between the theft and our notice of it the number may already be another process's."""
        async with start("sleep", "1000") as process:
            os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)
            assert_no_signals_from_now_on(monkeypatch)
            process.kill()
            process.terminate()
            assert await process.wait() is None


def assert_no_signals_from_now_on(monkeypatch):
    def signal_sent(*args):
        pytest.fail(f"signal sent: {args}")

    monkeypatch.setattr(os, "kill", signal_sent)
    monkeypatch.setattr(os, "killpg", signal_sent)


async def test_a_child_that_was_gone_and_reaped_before_its_handle_was_opened():
    child = subprocess.Popen(["true"])
    child.wait()
    handle = open_handle(child.pid)  # ESRCH
    with anyio.fail_after(2):
        await anyio.wait_readable(handle.descriptor.number)
    assert handle.poll()
    assert handle.returncode is None
    handle.close()


async def test_the_handle_of_a_living_child_is_not_readable():
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as child:
        handle = open_handle(child.pid)
        assert select.select([handle.descriptor.number], [], [], 0)[0] == []
        assert not handle.poll()
        handle.kill_group()
        await anyio.wait_readable(handle.descriptor.number)
        assert handle.poll()
        assert handle.returncode == -signal.SIGKILL
        handle.close()


async def test_a_child_of_another_kind_of_spawn_is_left_to_its_owner():
    """We never wait for "any child": the status of anyone else's child stays where it is."""
    other = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(4)"])
    async with start("true") as process:
        await process.wait()
    assert other.wait() == 4
