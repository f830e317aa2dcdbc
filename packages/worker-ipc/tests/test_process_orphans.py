"""When the parent is gone, however it went, its children are gone; and a mere copy of it does no harm."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from worker_ipc import _orphans
from worker_ipc._process import Process, start_process
from worker_ipc._spawn import SpawnRequest, spawn
from worker_testkit import doomed_parent

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(not _orphans.SUPPORTED, reason="the kernel offers no signal on a pipe here"),
]

SCENARIO = """
import anyio, os, signal, sys
from worker_ipc._process import start_process
how, backend, *command = sys.argv[1:]
async def main():
    async with start_process(command, channel=True, stdio=False) as process:
        if how != "at once":
            await anyio.wait_readable(process.fd_in)
        report(process.pid, *map(int, os.read(process.fd_in, 99).split()) if how != "at once" else ())
        if how == "_exit":
            os._exit(0)
        if how == "exec":
            os.execvp("sleep", ["sleep", "1000"])
        if how == "abort":
            os.abort()
        if how == "error":
            raise ZeroDivisionError
        await anyio.sleep_forever()
anyio.run(main, backend=backend)
"""

HELLO = "import os, time; os.write(int(os.environ['NODE_CHANNEL_FD']), b' '); "
PROGRAMS = {
    "idle": [sys.executable, "-S", "-c", HELLO + "time.sleep(1000)"],
    "busy in Python": [sys.executable, "-S", "-c", HELLO + "\nwhile True: pass"],
    "in C with the GIL": [sys.executable, "-S", "-c", HELLO + "sum(range(10**12))"],
    "deaf to signals": [
        sys.executable,
        "-S",
        "-c",
        "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 13, 15, 29)]; " + HELLO + "time.sleep(1000)",
    ],
    "stopped": [sys.executable, "-S", "-c", HELLO + "os.kill(os.getpid(), 19)"],
    "exec'd": [sys.executable, "-S", "-c", HELLO + "os.execvp('sleep', ['sleep', '1000'])"],
    "with grandchild": [
        sys.executable,
        "-S",
        "-c",
        "import os, time\npid = os.fork()\n"
        "if pid: os.write(int(os.environ['NODE_CHANNEL_FD']), b'%d' % pid)\ntime.sleep(1000)",
    ],
    "bash": ["bash", "-c", "echo >&$NODE_CHANNEL_FD; while true; do :; done"],
    "bash in a pipe": ["bash", "-c", "echo >&$NODE_CHANNEL_FD; sleep 1000 | sleep 1000"],
}
NODE = ["node", "-e", "process.send(1); process.on('message', () => {}); setInterval(() => {}, 1000)"]


@pytest.mark.fault(79)
@pytest.mark.fault(80)
@pytest.mark.parametrize("program", list(PROGRAMS))
def test_a_killed_parent_takes_any_program_with_it(program):
    with doomed_parent(SCENARIO, "kill", "asyncio", *PROGRAMS[program]) as parent:
        parent.reported(2 if program == "with grandchild" else 1)
        parent.kill()
        assert parent.gone_within(1) == []


@pytest.mark.fault(79)
@pytest.mark.node
@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
def test_a_killed_parent_takes_a_node_child_with_it_that_would_stay():
    scenario = SCENARIO.replace(", *map(int, os.read(process.fd_in, 99).split()) if", ", *() if")
    with doomed_parent(scenario, "kill", "asyncio", *NODE) as parent:
        parent.reported(1)
        parent.kill()
        assert parent.gone_within(1) == []


@pytest.mark.fault(79)
@pytest.mark.fault(82)
@pytest.mark.parametrize("program", ["idle", "with grandchild"])
def test_a_parent_that_is_killed_while_its_child_starts_takes_it_along(program, anyio_backend_name):
    with doomed_parent(SCENARIO, "at once", anyio_backend_name, *PROGRAMS[program]) as parent:
        parent.reported(1)
        parent.kill()
        assert parent.gone_within(1) == []


@pytest.mark.fault(83)
@pytest.mark.parametrize("how", ["_exit", "exec", "abort", "error"])
def test_no_other_end_of_the_parent_leaves_a_child(how, anyio_backend_name):
    with doomed_parent(SCENARIO, how, anyio_backend_name, *PROGRAMS["idle"], stderr=subprocess.DEVNULL) as parent:
        parent.reported(1)
        assert parent.gone_within(5 if how == "error" else 1) == []


@pytest.mark.fault(81)
def test_the_end_of_the_thread_that_started_it_is_not_the_end_of_the_child():
    children, threads = [], []

    def run():
        threads.append(threading.get_native_id())
        children.append(spawn(request("sh", "-c", "read word; echo $word; sleep 1000")))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    while os.path.exists(f"/proc/self/task/{threads[0]}"):
        pass
    [(handle, ends)] = children
    os.write(ends.fd_out.number, b"alive\n")
    os.set_blocking(ends.fd_in.number, True)
    assert os.read(ends.fd_in.number, 9) == b"alive\n"
    assert not handle.poll()
    ends.close()  # the lifeline with them, and that is the end of it
    os.waitid(os.P_PID, handle.pid, os.WEXITED | os.WNOWAIT)
    assert handle.poll()
    assert handle.returncode == -signal.SIGKILL
    handle.close()


def request(*command):
    return SpawnRequest(command, False, True, None, lambda fd: dict(os.environ), "devnull", "inherit", "inherit")


@pytest.mark.anyio
async def test_a_sandbox_that_refuses_the_lifeline_does_not_refuse_the_child(monkeypatch):
    def refuse(*args):
        raise PermissionError(1, "no")

    monkeypatch.setattr(_orphans.fcntl, "fcntl", refuse)
    async with start_process(["true"], channel=True, stdio=False) as process:
        assert await process.wait() == 0
    read_end, write_end = os.pipe()
    assert not _orphans.arm(read_end, os.getpid())
    os.close(read_end)
    os.close(write_end)


# --- an interpreter that ends, and a copy of it ----------------------------------------------------------------------

UNCLOSED = """
import asyncio, sys
import anyio
from worker_ipc._process import start_process
how, backend = sys.argv[1:]
def block():
    return start_process(["sleep", "1000"], channel=True, stdio=False)
async def main():
    async with block() as process:
        report(process.pid)
        if how == "exit":
            sys.exit(3)
        raise ZeroDivisionError
async def forget():
    global kept
    kept = block()
    report((await kept.__aenter__()).pid)
if how in ("exit", "error"):
    anyio.run(main, backend=backend)
elif backend == "asyncio":
    asyncio.new_event_loop().run_until_complete(forget())
else:
    import trio
    try: trio.run(forget)
    except trio.TrioInternalError: pass  # trio's word for a block that was never left
    else: raise AssertionError
"""


@pytest.mark.fault(52)
@pytest.mark.parametrize(("how", "returncode"), [("forget", 0), ("exit", 3), ("error", 1)])
def test_an_interpreter_that_ends_in_the_block_neither_hangs_nor_leaves_a_child(how, returncode, anyio_backend_name):
    with doomed_parent(UNCLOSED, how, anyio_backend_name, stderr=subprocess.PIPE) as parent:
        parent.reported(1)
        assert parent.gone_within(5) == []
        _, text = parent.process.communicate(timeout=5)
        assert parent.process.returncode == returncode, text


DROPPED = """
import asyncio, os, warnings
from worker_ipc import _process, _orphans
warnings.simplefilter("always")
_orphans.SUPPORTED = False                        # the kernel is not to do our work here
async def main():
    block = _process.start_process(["sleep", "1000"], channel=True, stdio=False)
    process = await block.__aenter__()
    report(process.pid)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""


@pytest.mark.fault(52)
def test_a_child_whose_loop_was_dropped_is_ended_with_a_resource_warning_also_without_the_kernels_help():
    with doomed_parent(DROPPED, stderr=subprocess.PIPE) as parent:
        parent.reported(1)
        assert parent.gone_within(5) == []
        _, text = parent.process.communicate(timeout=5)
        assert b"ResourceWarning: unclosed <Process" in text
        assert parent.process.returncode == 0


@pytest.mark.fault(52)
@pytest.mark.anyio
async def test_a_process_that_nobody_holds_any_more_is_ended_with_a_resource_warning():
    held = [Process(request("sleep", "1000"), *spawn(request("sleep", "1000")))]
    pid = held[0].pid
    with pytest.warns(ResourceWarning, match=f"unclosed <Process {pid}"):
        held.clear()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


COPY = """
import anyio, os, signal, sys
from worker_ipc._process import start_process
how, backend = sys.argv[1:]
child = "import os; fd = int(os.environ['NODE_CHANNEL_FD']); os.write(fd, os.read(fd, 9) or b'end'); os.read(fd, 9)"
async def main():
    async with start_process([sys.executable, "-S", "-c", child], channel=True, stdio=False) as process:
        if (copy := os.fork()) == 0:
            try:
                for harm in (process.kill, process.terminate):
                    try: harm()
                    except RuntimeError as error: assert "forked copy" in str(error)
                    else: raise SystemExit(2)
                try: await process.wait()
                except RuntimeError: pass
                else: raise SystemExit(3)
                try: await process.end(lambda: None)
                except RuntimeError: pass
                else: raise SystemExit(4)
                assert os.read(process.fd_in, 1) == b""  # the null device: it holds no channel
                process.close()
                process.__del__()
                report(os.getpid())
                if how == "stay":
                    while True: signal.pause()
                os._exit(0)
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)
        report(process.pid)
        if how == "stay":
            await anyio.sleep_forever()
        assert os.waitpid(copy, 0) == (copy, 0)
        os.write(process.fd_out, b"alive")
        await anyio.wait_readable(process.fd_in)
        assert os.read(process.fd_in, 9) == b"alive"
        os.close(process.fd_in)
        assert await process.wait() == 0, process
anyio.run(main, backend=backend)
"""


@pytest.mark.wire("F8")
@pytest.mark.fault(84)
def test_a_forked_copy_can_do_no_harm(anyio_backend_name):
    with doomed_parent(COPY, "go", anyio_backend_name) as parent:
        parent.reported(2)
        assert parent.process.wait(10) == 0


@pytest.mark.fault(84)
def test_a_forked_copy_does_not_keep_the_child_alive_when_the_parent_is_killed():
    with doomed_parent(COPY, "stay", "asyncio") as parent:
        pids = parent.reported(2)
        parent.kill()
        left = parent.gone_within(1)
        assert len(left) == 1  # the copy
        assert left[0] in pids
