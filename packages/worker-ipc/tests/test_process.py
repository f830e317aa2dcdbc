"""A child is started with what it needs or not at all, its end is told as it was, and leaving the block ends it."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading

import anyio
import pytest

from worker_ipc import _handle, _spawn
from worker_ipc._errors import SpawnError
from worker_ipc._process import start_process
from worker_testkit import sweep_cancellation

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

QUICK = 1.0  # seconds: "at once", on a machine that is busy


def start(*command, channel=True, stdio=False, **options):
    return start_process(command, channel=channel, stdio=stdio, **options)


def python(code, **options):
    return start(sys.executable, "-S", "-c", code, **options)


# --- how it begins ---------------------------------------------------------------------------------------------------


async def test_a_child_talks_over_the_channel():
    code = "import os; fd = int(os.environ['NODE_CHANNEL_FD']); os.write(fd, os.read(fd, 9) * 2)"
    async with python(code) as process:
        assert process.fd_in == process.fd_out
        os.write(process.fd_out, b"a-")
        with anyio.fail_after(10):
            await anyio.wait_readable(process.fd_in)
        assert os.read(process.fd_in, 9) == b"a-a-"
        assert await process.wait() == 0


async def test_a_child_talks_over_its_stdin_and_stdout():
    async with start("cat", channel=False, stdio=True) as process:
        os.write(process.fd_out, b"echo")
        with anyio.fail_after(10):
            await anyio.wait_readable(process.fd_in)
        assert os.read(process.fd_in, 9) == b"echo"
        os.close(process.fd_out)  # a stream may close what it was lent
        assert await process.wait() == 0
        assert os.read(process.fd_in, 9) == b""


async def test_a_child_may_have_neither():
    async with start("true", channel=False) as process:
        assert process.fd_in == process.fd_out == -1
        assert await process.wait() == 0


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    ("command", "cwd", "expected"),
    [
        (["/no/such/program"], None, errno.ENOENT),
        (["no-such-program"], None, errno.ENOENT),
        ([__file__], None, errno.EACCES),
        ([os.path.dirname(__file__)], None, errno.EACCES),
        (["true"], "/no/such/directory", errno.ENOENT),
        (["true"], __file__, errno.ENOTDIR),
    ],
)
async def test_what_cannot_be_started_says_why_at_once(command, cwd, expected):
    with pytest.raises(SpawnError) as caught, anyio.fail_after(QUICK):
        async with start(*command, cwd=cwd):
            pytest.fail("started")
    assert caught.value.errno == expected
    assert caught.value.command == tuple(command)
    assert (cwd or command[0]) in str(caught.value)


@pytest.mark.fault(1)
async def test_a_script_without_its_interpreter_is_told_how_to_start(tmp_path):
    script = tmp_path / "double.py"
    script.write_text("print('hello')")
    for command in ([script], ["no/such.js"]):
        with pytest.raises(SpawnError) as caught:
            async with start(*command):
                pytest.fail("started")
        assert "[sys.executable, 'my.py'], ['node', 'my.js']" in caught.value.__notes__[0]
    with pytest.raises(SpawnError) as caught:
        async with start("no-such-program"):
            pytest.fail("started")
    assert not hasattr(caught.value, "__notes__")


async def test_a_wrong_call_is_named_before_anything_starts():
    with pytest.raises(TypeError, match="sequence of strings"):
        async with start_process("echo hello", channel=True, stdio=False):
            pass
    with pytest.raises(ValueError, match="name a program"):
        async with start():
            pass
    with pytest.raises(ValueError, match="not both"):
        async with start("true", stdio=True):
            pass
    with pytest.raises(ValueError, match="standard stream"):
        async with start("true", stdout=-5):
            pass
    with pytest.raises(ValueError, match="null byte"):
        async with start("tr\0ue"):
            pass


@pytest.mark.fault(14)
@pytest.mark.parametrize("failure", [OSError(errno.EMFILE, "no descriptors"), KeyboardInterrupt()])
async def test_a_failure_after_the_fork_leaves_no_child(monkeypatch, failure):
    started = []

    def fail(pid):
        started.append(pid)
        raise failure

    monkeypatch.setattr(_spawn, "open_handle", fail)
    expected = SpawnError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected), anyio.fail_after(QUICK):
        async with start("sleep", "1000"):
            pytest.fail("started")
    with pytest.raises(ProcessLookupError):  # dead, and reaped
        os.kill(started[0], 0)


@pytest.mark.fault(14)
async def test_running_out_of_descriptors_for_the_pidfd_leaves_no_child(monkeypatch):
    def refuse(pid, flags=0):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(SpawnError) as caught:
        async with start("sleep", "1000"):
            pytest.fail("started")
    assert caught.value.errno == errno.EMFILE


@pytest.mark.fault(14)
async def test_ctrl_c_inside_popen_leaves_no_child(monkeypatch):
    fork = subprocess._fork_exec
    started = []

    def fork_then_interrupt(*args):
        started.append(fork(*args))
        return started[0]

    def interrupt(fd, size):
        raise KeyboardInterrupt

    def read(fd, size):
        if started and len(started) == 1:
            started.append(None)
            raise KeyboardInterrupt
        return real_read(fd, size)

    real_read = os.read
    monkeypatch.setattr(subprocess, "_fork_exec", fork_then_interrupt)
    monkeypatch.setattr(os, "read", read)  # Popen reads the outcome of the exec from a pipe
    with pytest.raises(KeyboardInterrupt):
        async with start("sleep", "1000"):
            pytest.fail("started")
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


@pytest.mark.fault(88)
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
async def test_no_more_processes_is_a_spawn_error(monkeypatch, number):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "_fork_exec", refuse)
    with pytest.raises(SpawnError) as caught:
        async with start("true"):
            pytest.fail("started")
    assert caught.value.errno == number


@pytest.mark.fault(88)
async def test_no_more_threads_is_a_spawn_error_where_one_is_needed(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(_handle.threading.Thread, "start", refuse)
    with pytest.raises(SpawnError) as caught:
        async with start("sleep", "1000"):
            pytest.fail("started")
    assert caught.value.errno == errno.EAGAIN


@pytest.mark.fault(87)
async def test_running_out_of_descriptors_leaves_nothing_half_open():
    outcomes = []
    for free in range(16):
        with only_free_descriptors(free):
            before = os.listdir("/proc/self/fd") if free > 0 else None
            try:
                async with start("true") as process:
                    outcomes.append(await process.wait())
            except SpawnError as error:
                outcomes.append(error.errno)
            after = os.listdir("/proc/self/fd") if free > 0 else None
            assert before == after
    first_success = outcomes.index(0)
    assert 0 < first_success < 16
    assert set(outcomes[:first_success]) == {errno.EMFILE}
    assert set(outcomes[first_success:]) == {0}
    async with start("true") as process:
        assert await process.wait() == 0


class only_free_descriptors:  # noqa: N801 - reads as a statement
    def __init__(self, free):
        self.free = free

    def __enter__(self):
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, self.limits[1]))
        self.fillers = []
        try:
            while True:
                self.fillers.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        for _ in range(self.free):
            os.close(self.fillers.pop())

    def __exit__(self, *exc):
        for fd in self.fillers:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)


# --- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.fault(2)
@pytest.mark.fault(3)
@pytest.mark.parametrize(
    ("code", "returncode"),
    [
        ("pass", 0),
        ("import sys; sys.exit(7)", 7),
        ("import os; os._exit(0)", 0),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import os; os.abort()", -signal.SIGABRT),
    ],
)
async def test_an_end_is_told_as_it_was(code, returncode):
    async with python(code) as process:
        assert process.alive
        with anyio.fail_after(10):
            assert await process.wait() == returncode
        assert process.returncode == returncode
        assert not process.alive
        assert f"returncode={returncode}" in repr(process)


async def test_a_death_is_seen_at_once():
    async with start("sleep", "1000") as process:
        process.kill()
        with anyio.fail_after(QUICK):
            assert await process.wait() == -signal.SIGKILL


async def test_on_exit_is_called_once_after_the_child_was_reaped_in_the_thread_of_the_loop():
    calls = []
    async with python("import os; os.write(2, b'last words')", stderr="capture") as process:
        told = anyio.Event()

        def callback():
            calls.append((process.returncode, process.stderr, threading.current_thread()))
            told.set()

        process.on_exit(callback)
        await told.wait()
        await process.wait()
        process.on_exit(lambda: calls.append("late"))
    assert calls == [(0, "last words", threading.current_thread()), "late"]


async def test_the_last_words_are_there_when_the_death_is_told():
    async with python("import os; os.write(2, b'x' * 60_000)", stderr="capture") as process:
        # Behind the loop's back, so that its watcher has read nothing yet.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        assert process.poll()
        assert process.stderr == "x" * 60_000


async def test_a_callback_that_raises_harms_neither_the_others_nor_the_block(caplog):
    called = []
    async with start("true") as process:
        process.on_exit(lambda: 1 / 0)
        process.on_exit(lambda: called.append(True))
        assert await process.wait() == 0
    assert called == [True]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.fault(36)
async def test_a_grandchild_that_holds_every_descriptor_does_not_hide_the_death():
    code = "import os, time\nif os.fork(): os._exit(3)\ntime.sleep(1000)"
    async with python(code, stderr="capture") as process:
        with anyio.fail_after(10):
            assert await process.wait() == 3
        # and it was killed with its group: nobody holds the channel any more
        with anyio.fail_after(QUICK):
            await anyio.wait_readable(process.fd_in)
        assert os.read(process.fd_in, 1) == b""


@pytest.mark.fault(36)
async def test_a_grandchild_in_another_session_does_not_hide_the_death():
    code = (
        "import os, time\n"
        "fd = int(os.environ['NODE_CHANNEL_FD'])\n"
        "if os.fork(): os.read(fd, 1); os._exit(3)\n"
        "os.setsid(); os.write(fd, b'%d' % os.getpid()); time.sleep(1000)"
    )
    async with python(code, stderr="capture") as process:
        await anyio.wait_readable(process.fd_in)
        grandchild = int(os.read(process.fd_in, 20))
        try:
            os.write(process.fd_out, b".")
            with anyio.fail_after(QUICK):
                assert await process.wait() == 3
            os.kill(grandchild, 0)  # this one is not promised to end: it left the group
        finally:
            os.kill(grandchild, signal.SIGKILL)
            os.waitpid(grandchild, 0)  # noqa: ASYNC222 - the testkit adopted it, and it is dead


async def test_what_the_child_wrote_before_its_death_can_be_read_after_it():
    code = "import os; os.write(int(os.environ['NODE_CHANNEL_FD']), b'x' * 50_000); os._exit(1)"
    async with python(code) as process:
        assert await process.wait() == 1
        received = b""
        while chunk := os.read(process.fd_in, 65536):
            received += chunk
        assert len(received) == 50_000


# --- leaving the block -----------------------------------------------------------------------------------------------


async def test_leaving_the_block_kills():
    async with start("sleep", "1000") as process:
        pass
    assert process.returncode == -signal.SIGKILL


@pytest.mark.fault(51)
async def test_the_error_of_the_block_leaves_as_it_is():
    with pytest.raises(KeyError, match="mine") as caught:
        async with start("sleep", "1000") as process:
            raise KeyError("mine")
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert process.returncode == -signal.SIGKILL


@pytest.mark.fault(51)
async def test_a_group_of_errors_leaves_as_it_is():
    mine = ExceptionGroup("mine", [ValueError(), TypeError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with start("sleep", "1000"):
            raise mine
    assert caught.value is mine


@pytest.mark.fault(51)
async def test_a_cancelled_block_leaves_no_child():
    with anyio.CancelScope() as scope:
        async with start("sleep", "1000") as process:
            began = anyio.current_time()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert process.returncode == -signal.SIGKILL
    assert anyio.current_time() - began < QUICK  # its death is still watched, not only looked for at the very end


@pytest.mark.fault(96)
async def test_every_point_of_cancellation_leaves_no_child():
    seen = []

    async def body():
        async with start("cat", channel=False, stdio=True) as process:
            seen.append(process)
            os.close(process.fd_out)
            await process.wait()
            await process.end(lambda: None)

    async def check(cut):
        assert not seen[-1].alive

    await sweep_cancellation(body, check=check)


@pytest.mark.fault(96)
async def test_every_point_of_cancellation_of_the_ladder_leaves_no_child():
    seen = []

    async def body():
        async with start("sleep", "1000") as process:
            seen.append(process)
            await process.end(lambda: None, grace=0.02)

    async def check(cut):
        assert not seen[-1].alive

    await sweep_cancellation(body, check=check)


@pytest.mark.fault(89)
async def test_many_children_leave_no_trace():
    for _ in range(5):
        async with start("true") as process:
            await process.wait()
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(100):
        async with start("true") as process:
            assert await process.wait() == 0
    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_many_children_at_once():
    returncodes = []

    async def one(n):
        async with start("sh", "-c", f"exit {n}") as process:
            returncodes.append(await process.wait() == n)

    async with anyio.create_task_group() as group:
        for n in range(30):
            group.start_soon(one, n)
    assert returncodes == [True] * 30
