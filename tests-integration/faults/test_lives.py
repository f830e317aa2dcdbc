"""C, D, G, H on the whole stack, with real children: between tasks, at the end, short of everything, under signals."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from stacks import FUNCTION, STACKS, make

from worker_ipc import SpawnError
from worker_pool import PoolBroken, PoolClosed, WorkPool
from worker_spawn import WorkerDied, function_worker, spawned_worker
from worker_testkit import answer, children, descriptors, doomed_parent, evil, pause, read, state, step, write

pytestmark = pytest.mark.anyio

every_stack = pytest.mark.parametrize("stack", STACKS)
spawned = pytest.mark.parametrize("stack", [stack for stack in STACKS if stack != FUNCTION])  # they have hooks

GREETING = '{"type":"ready"}\n'
HONEST = '{"jsonrpc":"2.0","id":{id},"result":"honest"}\n'


async def until(condition: Callable[[], bool]) -> None:
    """Look again with every turn of the loop."""
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.001)


class Ends:
    """What became of calls that ran in tasks of their own."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.errors: list[Exception] = []

    async def of(self, call: Callable[..., Any], *arguments: Any) -> None:
        try:
            self.results.append(await call(*arguments))
        except Exception as error:
            self.errors.append(error)


# --- C. Between tasks


class FirstOf:
    """Makes workers of which the first follows a script, and the others are honest."""

    def __init__(self, *script: Any) -> None:
        self.scripts = [[write(GREETING), *script]]
        self.made: list[Any] = []

    def __call__(self) -> Any:
        script = self.scripts.pop() if self.scripts else [write(GREETING), step("serve")]

        async def ready(channel: Any) -> None:
            self.made.append(channel)
            await channel.listen_once("ready")

        return spawned_worker(evil(*script), execute="anything", init=ready, stderr="capture")


@pytest.mark.fault(39)
async def test_an_idle_child_that_hangs_up_and_lives_on_is_ended_and_replaced_unseen() -> None:
    workers = FirstOf(read(), answer(HONEST), step("close"), pause())
    with anyio.fail_after(20):
        async with WorkPool(workers, max_size=1) as pool:
            assert await pool.execute(1) == "honest"
            await until(lambda: not workers.made[0].active)
            assert await pool.execute(2) == "honest"
            assert len(workers.made) == 2
            assert state(workers.made[0].pid) is None
            assert pool.statistics().failed == 0


@pytest.mark.fault(40)
async def test_what_an_idle_child_says_unasked_is_bounded_and_answers_nobody() -> None:
    """Replies to requests that were never made, one of which has the number that the next will have; and events."""
    nobodys = '{"jsonrpc":"2.0","id":7,"result":"nobody\'s"}\n'
    chatter = '{"type":"chatter","data":"%s"}\n' % ("x" * 100)
    workers = FirstOf(
        read(), answer(HONEST), write(nobodys, 500), write(chatter, 3000), read(), answer(HONEST), step("serve")
    )
    with anyio.fail_after(20):
        async with WorkPool(workers, max_size=1) as pool:
            assert await pool.execute(1) == "honest"
            channel = workers.made[0]
            await until(lambda: channel.statistics().received >= 3502)
            counts = channel.statistics()
            assert counts.late_replies == 500
            assert (counts.kept, counts.dropped) == (1000, 2000)
            for _ in range(10):
                assert await pool.execute(2) == "honest"
            assert len(workers.made) == 1


@pytest.mark.fault(41)
@spawned
@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_release_that_fails_keeps_the_result_and_costs_the_child(stack: str, how: str) -> None:
    async def release(channel: Any) -> None:
        if how == "raises":
            raise RuntimeError("release")
        await anyio.sleep_forever()

    with anyio.fail_after(20):
        async with WorkPool(partial(make, stack, release=release), max_size=1, destroy_timeout=0.3) as pool:
            pids = [await pool.execute(["pid", None]) for _ in range(3)]
            assert len(set(pids)) == 3
            assert pool.statistics().failed == 0
            assert state(pids[0]) is None


# --- D. Shutting down


@pytest.mark.fault(45)
@every_stack
async def test_those_who_wait_when_the_pool_closes_are_told_at_once_and_no_child_is_started_for_them(
    stack: str,
) -> None:
    ends = Ends()
    with anyio.fail_after(20):
        async with WorkPool(partial(make, stack), max_size=1) as pool, anyio.create_task_group() as group:
            await pool.execute(["pid", None])
            group.start_soon(ends.of, pool.execute, ["nap", 0.5])
            await until(lambda: pool.statistics().running == 1)
            for _ in range(5):
                group.start_soon(ends.of, pool.execute, ["ok", 1])
            await until(lambda: pool.statistics().waiting == 5)
            pool.close()
            await until(lambda: len(ends.errors) == 5)
            assert ends.results == []  # nobody was told only when the nap was over
    assert {type(error) for error in ends.errors} == {PoolClosed}
    assert ends.results == [0.5]
    assert pool.statistics().started == 1


@pytest.mark.fault(46)
@every_stack
async def test_what_ends_within_the_grace_has_its_result_and_what_does_not_is_cut_with_its_child(stack: str) -> None:
    ends = Ends()
    with anyio.fail_after(20):
        async with WorkPool(partial(make, stack), max_size=3) as pool, anyio.create_task_group() as group:
            for order in (["nap", 0.2], ["nap", 600], ["stubborn", None]):
                group.start_soon(ends.of, pool.execute, order)
            await until(lambda: pool.statistics().running + len(ends.results) == 3)  # a short nap may be over
            start = time.perf_counter()
            await pool.shutdown(grace=1.5)
            assert 1.4 < time.perf_counter() - start < 5
            assert children() == {}
    assert ends.results == [0.2]
    assert [type(error) for error in ends.errors] == [PoolClosed] * 2


@pytest.mark.stress
@pytest.mark.fault(47)
@every_stack
async def test_children_that_are_starting_when_the_pool_closes_are_ended(stack: str) -> None:
    def never_ready() -> Any:
        if stack == FUNCTION:
            return function_worker("fault_functions:ok", setup="fault_functions:never", stderr="capture")
        return spawned_worker(["sleep", "600"], execute="x", init=lambda channel: channel.listen_once("ready"))

    before = set(children())
    ends = Ends()
    with anyio.fail_after(10):
        async with WorkPool(never_ready, min_size=2, max_size=2, max_starting=2) as pool:
            async with anyio.create_task_group() as group:
                group.start_soon(ends.of, pool.execute, ["ok", 1])
                await until(lambda: len(set(children()) - before) == 2)
                await pool.shutdown()
                assert set(children()) == before
    assert [type(error) for error in ends.errors] == [PoolClosed]


@pytest.mark.fault(50)
@spawned
@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_destroy_hook_that_fails_saves_no_child(stack: str, how: str) -> None:
    called = []

    async def destroy(channel: Any) -> None:
        called.append(channel.pid)
        if how == "raises":
            raise RuntimeError("destroy")
        await anyio.sleep_forever()

    with anyio.fail_after(20):
        options = {"min_size": 3, "max_size": 3, "max_starting": 3, "destroy_timeout": 1.0}
        async with WorkPool(partial(make, stack, destroy=destroy), **options) as pool:
            await until(lambda: pool.statistics().alive == 3)
            start = time.perf_counter()
        assert time.perf_counter() - start < 4
    assert len(called) == 3
    assert children() == {}


@pytest.mark.fault(51)
@every_stack
@pytest.mark.parametrize("how", ["raises", "is cancelled"])
async def test_a_block_that_does_not_end_well_leaves_no_child_and_its_own_error(stack: str, how: str) -> None:
    ends = Ends()

    async def body(scope: anyio.CancelScope) -> None:
        async with anyio.create_task_group() as group:
            try:
                async with WorkPool(partial(make, stack), max_size=2) as pool:
                    for order in (["nap", 600], ["stubborn", None]):
                        group.start_soon(ends.of, pool.execute, order)
                    await until(lambda: pool.statistics().running == 2)
                    if how == "raises":
                        raise KeyError("mine")
                    scope.cancel()
                    await anyio.sleep_forever()
            finally:
                assert children() == {}

    with anyio.fail_after(20):
        with anyio.CancelScope() as scope:
            if how == "raises":
                with pytest.raises(ExceptionGroup) as caught:
                    await body(scope)
                assert caught.group_contains(KeyError, match="mine", depth=1)
            else:
                await body(scope)
        assert scope.cancelled_caught == (how == "is cancelled")
    assert {type(error) for error in ends.errors} <= {PoolClosed}


# --- G. Resources


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 1, hard))
    fillers = []
    try:
        while True:
            try:
                fillers.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        for fd in fillers:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.fault(87)
@every_stack
async def test_without_descriptors_those_that_live_go_on_and_with_some_again_there_are_more(stack: str) -> None:
    with anyio.fail_after(30):
        async with WorkPool(partial(make, stack), max_size=2, start_backoff=0.01) as pool:
            first = await pool.execute(["pid", None])
            with no_descriptors_left():
                async with pool.stream([["pid", None]] * 50) as outcomes:
                    assert {outcome.unwrap() async for outcome in outcomes} == {first}
                ends = Ends()
                async with anyio.create_task_group() as group:
                    for _ in range(4):
                        group.start_soon(ends.of, pool.execute, ["nap", 0.05])
                assert ends.results == [0.05] * 4
                assert pool.statistics().start_failures > 0
            ends = Ends()
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(ends.of, pool.execute, ["nap", 1])
                await until(lambda: pool.statistics().alive == 2)
            assert ends.results == [1, 1]


@pytest.mark.fault(88)
@every_stack
@pytest.mark.parametrize("failures", [2, 1000])
async def test_a_fork_that_fails_is_tried_again_a_few_times(
    stack: str, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = subprocess._fork_exec  # type: ignore[attr-defined]
    tries: list[float] = []

    def fail(*arguments: Any) -> Any:
        tries.append(time.perf_counter())
        if len(tries) <= failures:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork(*arguments)

    monkeypatch.setattr(subprocess, "_fork_exec", fail)
    with anyio.fail_after(20):
        async with WorkPool(partial(make, stack), max_size=1, start_backoff=0.05) as pool:
            if failures == 2:
                assert await pool.execute(["ok", 1]) == 1
            else:
                with pytest.raises(PoolBroken) as caught:
                    await pool.execute(["ok", 1])
                assert isinstance(caught.value.__cause__, SpawnError)
                assert caught.value.__cause__.errno == errno.EAGAIN
    assert len(tries) == 3
    assert tries[1] - tries[0] >= 0.05  # no spinning
    assert tries[2] - tries[1] >= 0.1


@pytest.mark.fault(89)
@every_stack
async def test_workers_that_come_and_go_leave_nothing_behind(stack: str) -> None:
    def held() -> tuple[int, int, int]:
        return len(descriptors()), threading.active_count(), len(children())

    async with WorkPool(partial(make, stack), max_size=2, retire=lambda worker: worker.tasks >= 1) as pool:
        async with pool.stream([["pid", None]] * 4) as outcomes:  # what is made once, is made now
            assert [outcome.unwrap() async for outcome in outcomes]
        await until(lambda: not pool.statistics().alive + pool.statistics().leaving)
        before = held()
        async with pool.stream([["pid", None]] * 40) as outcomes:
            assert len({outcome.unwrap() async for outcome in outcomes}) == 40
        await until(lambda: not pool.statistics().alive + pool.statistics().leaving)
        assert held() == before


# --- H. Signals


@pytest.mark.fault(93)
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@every_stack
@pytest.mark.parametrize("when", ["busy", "starting"])
def test_ctrl_c_is_the_parents_alone_and_no_child_prints_a_traceback(loop: str, stack: str, when: str) -> None:
    """To the whole group of the parent, as a terminal does it."""
    scenario = """
    import anyio
    import signal
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
    from functools import partial
    sys.path[:] = sys.argv[3].split(":")
    from stacks import make
    from worker_pool import WorkPool
    from worker_testkit import children

    async def main():
        async with WorkPool(partial(make, sys.argv[2], stderr="forward"), max_size=2, min_size=2) as pool:
            if sys.argv[4] == "busy":
                async with anyio.create_task_group() as group:
                    for _ in range(2):
                        group.start_soon(pool.execute, ["nap", 600])
                    while pool.statistics().running < 2:
                        await anyio.sleep(0.001)
                    report(*(child.pid for child in children().values()))
                    await anyio.sleep_forever()
            while len(children()) < 2:
                await anyio.sleep(0)
            report(*(child.pid for child in children().values()))
            await anyio.sleep_forever()

    try:
        anyio.run(main, backend=sys.argv[1])
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        print(type(error).__name__, file=sys.stderr)
    """
    options = {"stderr": subprocess.PIPE, "start_new_session": True}
    with doomed_parent(scenario, loop, stack, ":".join(sys.path), when, **options) as parent:
        parent.reported(2)
        os.killpg(parent.pid, signal.SIGINT)
        _, told = parent.process.communicate(timeout=20)
        assert b"Traceback" not in told
        assert told.endswith(b"KeyboardInterrupt\n")
        assert parent.gone_within(1) == []


@pytest.mark.stress
@pytest.mark.fault(95)
@every_stack
@pytest.mark.parametrize("thief", ["SIGCHLD is ignored", "somebody waits for all"])
async def test_a_death_whose_status_is_lost_is_a_death_all_the_same(stack: str, thief: str, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGCHLD)
    if thief == "SIGCHLD is ignored":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with anyio.fail_after(20):
            async with WorkPool(partial(make, stack), max_size=1) as pool:
                first = await pool.execute(["pid", None])
                ends = Ends()
                async with anyio.create_task_group() as group:
                    group.start_soon(ends.of, pool.execute, ["begin", str(tmp_path / "begun")])
                    await until((tmp_path / "begun").exists)
                    (kill if thief == "SIGCHLD is ignored" else kill_and_reap)(first)
                [error] = ends.errors
                assert isinstance(error, WorkerDied)
                assert (error.returncode, error.pid) == (None, first)
                assert await pool.execute(["pid", None]) != first
    finally:
        signal.signal(signal.SIGCHLD, before)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_and_reap(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# --- B, once more: between the first and the last byte of an input


@pytest.mark.fault(25)
@every_stack
async def test_a_death_while_a_large_input_is_written_loses_nobody_else(stack: str) -> None:
    """Stopped, the child reads nothing, and the input fills what is between them; then it dies."""
    with anyio.fail_after(20):
        async with WorkPool(partial(make, stack), max_size=3) as pool, anyio.create_task_group() as group:
            naps, large = Ends(), Ends()
            for _ in range(2):
                group.start_soon(naps.of, pool.execute, ["nap", 1])
            await until(lambda: pool.statistics().running == 2)
            victim = await pool.execute(["pid", None])
            os.kill(victim, signal.SIGSTOP)
            group.start_soon(large.of, pool.execute, ["length", "x" * 10_000_000])
            await until(lambda: pool.statistics().running == 3)
            await anyio.wait_all_tasks_blocked()
            os.kill(victim, signal.SIGKILL)
    assert naps.results == [1, 1]
    if stack == FUNCTION:  # its journal tells that it never began
        assert large.results == [10_000_000]
    else:
        [error] = large.errors
        assert isinstance(error, WorkerDied)
        assert error.signal == signal.SIGKILL
        assert not error.not_started
