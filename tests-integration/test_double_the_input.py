"""The main job on real children: the double of each input, from Python and from Node, on both loops."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from worker_pool import Failure, PoolBroken, StartTimeout, Success, WorkPool
from worker_sources import IterableSource, QueueSource
from worker_spawn import WorkerDied, spawned_worker

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = ["double.py", pytest.param("double.mjs", marks=pytest.mark.node)]
LETTERS = [f"{letter}-" for letter in "abcdefghijklmnopqrstuvwxyz"]

every_program = pytest.mark.parametrize("program", PROGRAMS)


@pytest.fixture(autouse=True)
def checked(no_leaks: None) -> None:
    """Nothing may be left behind."""


async def ask(channel, text):
    reply = channel.listen_once("response")
    await channel.send("request", {"data": text})
    return (await reply)["data"]


def double(program):
    return lambda: spawned_worker(EXAMPLES / program, init=lambda channel: channel.listen_once("ready"), execute=ask)


@pytest.mark.anyio
@every_program
async def test_more_inputs_than_workers(program: str) -> None:
    async with WorkPool(double(program), max_size=2) as pool:
        async with pool.stream(IterableSource(LETTERS), ordered=True) as outcomes:
            assert [outcome.unwrap() async for outcome in outcomes] == [text * 2 for text in LETTERS]
        assert pool.statistics().started <= 2


@pytest.mark.anyio
@every_program
async def test_more_workers_than_inputs(program: str) -> None:
    async with WorkPool(double(program), min_size=4, max_size=4) as pool:
        summary = await pool.process(["a-", "b-"])
    assert (summary.succeeded, summary.failed) == (2, 0)


@pytest.mark.anyio
async def test_a_queue_that_is_fed_meanwhile() -> None:
    queue: QueueSource[str] = QueueSource()
    async with WorkPool(double("double.py"), max_size=2) as pool:
        async with pool.stream(queue) as outcomes:
            for text in LETTERS[:5]:
                await queue.put(text)
                assert (await anext(outcomes)).unwrap() == text * 2
            queue.close()
            assert [outcome async for outcome in outcomes] == []


@pytest.mark.anyio
async def test_an_execute_that_raises_is_the_failure_of_its_input() -> None:
    async def choosy(channel, text):
        if text == "b-":
            raise KeyError(text)
        return await ask(channel, text)

    def worker():
        return spawned_worker(EXAMPLES / "double.py", init=lambda c: c.listen_once("ready"), execute=choosy)

    async with WorkPool(worker, max_size=2) as pool, pool.stream(["a-", "b-", "c-"], ordered=True) as outcomes:
        first, second, third = [outcome async for outcome in outcomes]
    assert isinstance(first, Success)
    assert isinstance(second, Failure)
    assert isinstance(second.error, KeyError)
    assert isinstance(third, Success)


@pytest.mark.anyio
async def test_a_child_that_never_says_ready_ends_in_an_error_within_its_limit() -> None:
    def deaf():
        return spawned_worker(["sleep", "60"], init=lambda channel: channel.listen_once("ready"), execute=ask)

    with pytest.raises(PoolBroken) as caught:
        async with WorkPool(deaf, max_size=1, init_timeout=0.2, start_backoff=0.01) as pool:
            await pool.execute("a-")
    assert isinstance(caught.value.__cause__, StartTimeout)


@pytest.mark.anyio
async def test_a_child_that_exits_before_ready_says_how() -> None:
    def brief():
        program = [sys.executable, "-c", "import sys; print('no licence', file=sys.stderr); sys.exit(3)"]
        return spawned_worker(program, init=lambda channel: channel.listen_once("ready"), execute=ask)

    with pytest.raises(PoolBroken) as caught:
        async with WorkPool(brief, max_size=1) as pool:
            await pool.execute("a-")
    cause = caught.value.__cause__
    assert isinstance(cause, WorkerDied)
    assert cause.returncode == 3
    assert "no licence" in cause.stderr


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_example_prints_each_input_and_one_summary(backend: str) -> None:
    *lines, summary = run(sys.executable, str(EXAMPLES / "double_the_input.py"), "--backend", backend).splitlines()
    assert sorted(lines) == [f"Sent {text} Received {text}{text}" for text in LETTERS[:10]]
    assert re.fullmatch(r"10 inputs, 10 results, 0 failures, [1-4] of at most 4 workers, \d+\.\d seconds", summary)
