"""A late reply never reaches another input, whatever the delays: not by events, not by requests, not on streams."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from worker_ipc import ParentChannel, open_stream
from worker_ipc.codecs import JsonLines
from worker_pool import Failure, Success, TaskTimeout, WorkPool
from worker_spawn import function_worker, spawned_worker

pytestmark = [pytest.mark.anyio, pytest.mark.stress, pytest.mark.fault(44), pytest.mark.fault(71)]

CHILD = Path(__file__).with_name("late_talker.py")
LIMIT = 0.1  # seconds: what a round trip of a loaded machine does not take

Order = tuple[int, float]


async def until_ready(channel: Any) -> None:
    await channel.listen_once("ready")


async def by_events(channel: ParentChannel, order: Order) -> int:
    reply = channel.listen_once("response")
    await channel.send("request", {"data": order[0], "delay": order[1]})
    return (await reply)["data"]


async def by_messages(stream: Any, order: Order) -> int:
    await stream.send({"type": "request", "data": order[0], "delay": order[1]})
    return (await stream.receive())["data"]


async def past_the_ready(stream: Any) -> None:
    assert (await stream.receive())["type"] == "ready"


KINDS: dict[str, Callable[[], Any]] = {
    "events": lambda: spawned_worker(CHILD, init=until_ready, execute=by_events),
    "requests": lambda: spawned_worker(CHILD, init=until_ready, execute="double"),
    "messages": lambda: spawned_worker(
        CHILD, open=open_stream, codec=JsonLines(), over="channel", init=past_the_ready, execute=by_messages
    ),
    "function": lambda: function_worker("functions:answer_after"),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def orders(seed: int) -> list[Order]:
    """Every other input is answered at once; those between come before, at or after the limit, one surely after it."""
    chance = random.Random(seed)
    slow = [10, *(chance.uniform(0.5, 1.5) for _ in range(3))]
    return [(number, LIMIT * slow[number // 2] if number % 2 == 0 else 0.0) for number in range(8)]


@every_kind
async def test_a_reply_after_its_time_limit_is_not_taken_for_the_next_input(kind: str, seed: int) -> None:
    """One worker: whoever comes next comes right after a timed-out input, whose reply is still on its way."""
    async with WorkPool(KINDS[kind], max_size=1, execute_timeout=LIMIT) as pool:
        async with pool.stream(orders(seed), ordered=True) as outcomes:
            ended = [outcome async for outcome in outcomes]
    assert [outcome.input[0] for outcome in ended] == list(range(8))
    for outcome in ended:
        if isinstance(outcome, Success):
            assert outcome.result == outcome.input[0]
        else:
            assert isinstance(outcome.error, TaskTimeout)
    assert isinstance(ended[0], Failure)  # else nothing was late
    assert any(isinstance(outcome, Success) for outcome in ended)  # else nothing could be mixed up


@every_kind
async def test_a_reply_to_a_caller_that_gave_up_is_not_taken_for_the_next_one(kind: str, seed: int) -> None:
    chance = random.Random(seed)
    gave_up = []
    async with WorkPool(KINDS[kind], max_size=1) as pool:
        for number, delay in orders(seed):
            with anyio.move_on_after(delay * chance.random() if delay else math.inf) as patience:
                # On a busy machine also the result of one that was not to be waited for.
                assert await pool.execute((number, delay)) == number
            if patience.cancelled_caught:
                gave_up.append(delay)
    assert gave_up  # else nothing was late
    assert all(gave_up)


async def test_overlapping_requests_that_answer_in_any_order_find_their_own_inputs(seed: int) -> None:
    """Eight at a time on one child; the replies come in the order of their delays."""
    chance = random.Random(seed)
    inputs = [(number, chance.uniform(0, 0.03)) for number in range(100)]
    async with WorkPool(KINDS["requests"], max_size=1, concurrency=8) as pool:
        async with pool.stream(inputs) as outcomes:
            ended = [(outcome.input[0], outcome.unwrap()) async for outcome in outcomes]
    assert all(number == result for number, result in ended)
    assert sorted(result for _, result in ended) == list(range(100))
    assert [number for number, _ in ended] != list(range(100))  # else nothing has overtaken anything
