"""What one caller gives up costs no other caller anything, and no child takes an error of another child for its own."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from worker_ipc import RemoteError, open_child
from worker_pool import Failure, WorkPool
from worker_spawn import function_worker, spawned_worker

pytestmark = pytest.mark.anyio

TALKER = Path(__file__).with_name("talker.py")
OTHERS = 10**6  # inputs from here on are those of the calls that are cancelled


@pytest.mark.stress
async def test_a_cancelled_call_costs_no_other_call_anything_and_runs_nothing_twice(
    tmp_path: Path, rounds: Callable[[int], int]
) -> None:
    numbers = range(rounds(500))  # each cancelled call costs a start, which is most of the time
    begun = tmp_path / "begun"
    begun.touch()
    failed: list[Any] = []
    finished: list[int] = []

    async def steady() -> None:
        async with pool.stream(numbers) as outcomes:
            async for outcome in outcomes:
                (failed if isinstance(outcome, Failure) else finished).append(outcome.input)
        group.cancel_scope.cancel()

    async def hasty() -> None:
        inputs = itertools.count(OTHERS)
        while True:
            with anyio.move_on_after(0.05):
                await pool.process(inputs)

    env = {"BEGUN": str(begun)}
    with anyio.fail_after(50):
        async with WorkPool(lambda: function_worker("functions:note_and_wait", env=env), max_size=2) as pool:
            async with anyio.create_task_group() as group:
                group.start_soon(steady)
                group.start_soon(hasty)
    assert failed == []
    assert sorted(finished) == list(numbers)
    counts = Counter(int(line) for line in begun.read_text().split())
    assert {number: count for number, count in counts.items() if count > 1} == {}


async def test_an_error_of_another_child_leaves_the_worker_in_doubt() -> None:
    """Its answer is still to come, and would be taken for that of the next input."""
    async with open_child([sys.executable, TALKER]) as other:

        async def ask(channel: Any, text: str) -> str:
            reply = channel.listen_once("response")
            await channel.send("request", {"data": text})
            if text == "bad":
                await other.request("double")  # without an argument
            return (await reply)["data"]

        async with WorkPool(lambda: spawned_worker(TALKER, init=until_ready, execute=ask), max_size=1) as pool:
            with pytest.raises(RemoteError):
                await pool.execute("bad")
            assert await pool.execute("good-") == "good-good-"
            assert pool.statistics().started == 2


async def test_an_own_error_with_an_event_unanswered_leaves_the_worker_in_doubt() -> None:
    async def ask(channel: Any, text: str) -> str:
        if text == "clean":
            await channel.request("double")  # without an argument
        reply = channel.listen_once("response")
        await channel.send("request", {"data": text})
        if text == "silence":
            await channel.request("double")
        return (await reply)["data"]

    async with WorkPool(lambda: spawned_worker(TALKER, init=until_ready, execute=ask), max_size=1) as pool:
        for text, started in (("clean", 1), ("silence", 1)):
            with pytest.raises(RemoteError):
                await pool.execute(text)
            assert pool.statistics().started == started
        assert await pool.execute("good-") == "good-good-"
        assert pool.statistics().started == 2


async def until_ready(channel: Any) -> None:
    await channel.listen_once("ready")
