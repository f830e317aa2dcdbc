"""F. The parent fails: however it goes, its children are gone within a second; and they stay while it lives."""

import os
import select
import signal
import subprocess
import sys

import pytest

from worker_testkit import children, doomed_parent

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "trio"])

OPEN_ONE = """
    import anyio, signal
    from worker_ipc import open_child
    from worker_testkit import evil, pause, read, step, write

    async def main():
        async with open_child({command}) as channel:
            report(channel.pid)
            {then}

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who runs the tests under nohup gives us a parent that ignores it
    anyio.run(main, backend=sys.argv[1])
"""
BUSY = 'evil(step("ignore", 15), step("spin"))'
IDLE = 'evil("unknown-type")'
ANY_PROGRAM = '["sleep", "1000"]'
STOPPED = "evil(step('kill', int(signal.SIGSTOP)))"
FORKED = 'evil(step("fork"), pause())'


def scenario(command: str = IDLE, then: str = "await anyio.sleep_forever()") -> str:
    return OPEN_ONE.format(command=command, then=then)


@LOOPS
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(IDLE, marks=pytest.mark.fault(79), id="idle"),
        pytest.param(ANY_PROGRAM, marks=pytest.mark.fault(79), id="any program"),
        pytest.param(STOPPED, marks=pytest.mark.fault(79), id="stopped"),
        pytest.param(BUSY, marks=[pytest.mark.fault(79), pytest.mark.fault(80)], id="in C, holding the lock"),
        pytest.param(FORKED, marks=pytest.mark.fault(79), id="with a grandchild"),
    ],
)
def test_nobody_survives_a_parent_that_is_killed(loop: str, command: str) -> None:
    with doomed_parent(scenario(command), loop) as parent:
        parent.reported(1)
        parent.kill()
        assert parent.gone_within(1) == []


@pytest.mark.stress
@pytest.mark.fault(79)
@pytest.mark.leaks("the one child that is between its fork and its lifeline: the window that is not covered")
@LOOPS
def test_a_parent_killed_while_it_starts_children_leaves_none_that_it_had_started(loop: str) -> None:
    """Killed at some moment of a storm of starts; each child is a plain `sleep`, which only the kernel can end."""
    storm = """
    import anyio
    from worker_ipc import open_child

    async def one():
        async with open_child(["sleep", "1000"]) as channel:
            report(channel.pid)
            await anyio.sleep_forever()

    async def main():
        async with anyio.create_task_group() as group:
            while True:
                group.start_soon(one)
                await anyio.sleep(0)

    anyio.run(main, backend=sys.argv[1])
    """
    with doomed_parent(storm, loop) as parent:
        parent.reported(25)
        parent.kill()
        assert parent.gone_within(2) == []
        in_the_window = [child for child in children().values() if child.state != "Z"]
        for child in in_the_window:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
    assert len(in_the_window) <= 1


@pytest.mark.fault(83)
@LOOPS
@pytest.mark.parametrize(
    "then",
    ["os._exit(3)", "os.execv('/bin/sleep', ['sleep', '3'])", "os.kill(os.getpid(), 11)", "os.abort()"],
    ids=["_exit", "exec", "segfault", "abort"],
)
def test_nor_one_that_leaves_without_a_word(loop: str, then: str) -> None:
    with doomed_parent(scenario(BUSY, then), loop, stderr=subprocess.DEVNULL) as parent:
        parent.reported(1)
        assert parent.gone_within(1.5) == []


@pytest.mark.fault(83)
@LOOPS
def test_nor_one_that_ends_by_an_unhandled_error(loop: str) -> None:
    with doomed_parent(
        scenario(IDLE, "raise RuntimeError('nobody handles me')"), loop, stderr=subprocess.PIPE
    ) as parent:
        parent.reported(1)
        assert parent.gone_within(2) == []
        assert b"nobody handles me" in parent.process.stderr.read()


@pytest.mark.fault(52)
@LOOPS
def test_an_interpreter_that_ends_with_everything_open_does_end(loop: str) -> None:
    with doomed_parent(scenario(IDLE, "sys.exit(4)"), loop, stderr=subprocess.DEVNULL) as parent:
        parent.reported(1)
        assert parent.process.wait(10) == 4
        assert parent.gone_within(1) == []


@pytest.mark.fault(94)
@LOOPS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("to", ["the parent", "its group"])
def test_nor_one_that_is_terminated(loop: str, number: int, to: str) -> None:
    with doomed_parent(scenario(BUSY), loop, process_group=0) as parent:
        parent.reported(1)
        if to == "the parent":
            parent.kill(number)
        else:
            os.killpg(parent.pid, number)
        assert parent.gone_within(1) == []
        assert parent.process.wait() == -number


@pytest.mark.fault(84)
@LOOPS
def test_a_forked_copy_of_the_parent_disturbs_nothing_whatever_it_does(loop: str) -> None:
    fork = """
            await channel.listen_once("ready")
            copy = os.fork()
            if copy == 0:
                try:
                    channel.send_nowait("anything", {"data": "x" * 100_000})
                    await channel.destroy()
                finally:
                    os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == 7
            assert await channel.request("anything") == "honest"
            assert channel.returncode is None
            os._exit(3)
    """
    with doomed_parent(scenario(IDLE, fork.strip()), loop) as parent:
        parent.reported(1)
        assert parent.process.wait(20) == 3


@pytest.mark.fault(84)
@LOOPS
def test_a_forked_copy_that_lives_on_does_not_keep_the_children_of_the_dead(loop: str) -> None:
    fork = """
            copy = os.fork()
            if copy == 0:
                os.setsid()
                signal.pause()
            report(copy)
            await anyio.sleep_forever()
    """
    with doomed_parent(scenario(IDLE, fork.strip()), loop) as parent:
        child, copy = parent.reported(2)
        ended = os.pidfd_open(child)
        try:
            parent.kill()
            assert select.select([ended], [], [], 1.5)[0], "the channel was held open by the copy"
        finally:
            os.close(ended)
        assert parent.gone_within(0) == [copy]


@pytest.mark.fault(85)
@LOOPS
def test_a_loop_that_was_blocked_finds_the_reply_and_calls_nobody_dead(loop: str) -> None:
    blocked = """
            import time
            await channel.listen_once("ready")
            async def ask():
                assert await channel.request("anything", timeout=1.0) == "honest"
                os._exit(3)
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                while not channel.statistics().pending_requests or channel.statistics().unsent_bytes:
                    await anyio.sleep(0)  # and not longer: the reply is to come while the loop is blocked
                time.sleep(2)
    """
    with doomed_parent(scenario(IDLE, blocked.strip()), loop) as parent:
        parent.reported(1)
        assert parent.process.wait(20) == 3


@pytest.mark.fault(12)
@LOOPS
@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]], ids=str)
def test_a_parent_without_standard_descriptors_gives_its_child_some(loop: str, closed: list[int]) -> None:
    look = """
    import anyio
    from worker_ipc import open_child
    for fd in map(int, sys.argv[2:]):
        os.close(fd)

    async def main():
        code = "import os; fd = int(os.environ['NODE_CHANNEL_FD']); ok = fd > 2 and all(map(os.fstat, (0, 1, 2)));"
        code += "os.write(fd, b'{\\"type\\":\\"seen\\",\\"ok\\":%d}\\\\n' % bool(ok)); os.read(fd, 1)"
        async with open_child([sys.executable, "-c", code]) as channel:
            ok = (await channel.listen_once("seen"))["ok"]
        os._exit(3 if ok else 4)

    anyio.run(main, backend=sys.argv[1])
    """
    with doomed_parent(look, loop, *map(str, closed)) as parent:
        assert parent.process.wait(20) == 3


assert sys.platform == "linux", "these tests promise what only Linux can keep"
