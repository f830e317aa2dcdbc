"""One described worker is entered once at a time: two children would have one memory of how they end."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from worker_ipc import SpawnError
from worker_pool import WorkPool
from worker_spawn import WorkerDied, spawned_worker

pytestmark = pytest.mark.anyio

TALKER = Path(__file__).with_name("talker.py")
ENTERED = r"^this spawned_worker is entered already: make one for each, as in WorkPool\(lambda: spawned_worker\("


async def test_a_second_entry_is_refused_and_the_first_goes_on() -> None:
    described = spawned_worker[Any, Any](TALKER, execute="double")
    async with described as worker:
        for _ in range(2):  # that it was refused gives nothing back
            with pytest.raises(RuntimeError, match=ENTERED):
                await described.__aenter__()
        assert worker.active
        assert await worker.execute(1) == 2
    assert not worker.active


async def test_an_entry_under_way_and_a_leaving_under_way_count() -> None:
    heard = []

    async def enter_again(channel: Any) -> None:
        with pytest.raises(RuntimeError, match=ENTERED):
            await described.__aenter__()
        heard.append(channel.pid)

    described = spawned_worker[Any, Any](TALKER, execute="double", init=enter_again, destroy=enter_again)
    async with described as worker:
        assert await worker.execute(1) == 2
    assert heard == [worker.pid] * 2


async def test_after_leaving_it_can_be_entered_again(tmp_path: Path) -> None:
    described = spawned_worker[Any, Any](TALKER, execute="double", transcript=tmp_path / "talk.log")
    pids = set()
    for _ in range(2):
        async with described as worker:
            assert await worker.execute(1) == 2
            pids.add(worker.pid)
    assert len(pids) == 2


async def test_after_an_entry_that_failed_it_can_be_entered_again(tmp_path: Path) -> None:
    program = tmp_path / "late.py"
    described = spawned_worker[Any, Any](program, execute="double")
    with pytest.raises(SpawnError):
        await described.__aenter__()
    program.write_bytes(TALKER.read_bytes())
    async with described as worker:
        assert await worker.execute(1) == 2


async def test_after_an_init_that_failed_or_was_cancelled_it_can_be_entered_again() -> None:
    ends = iter([ValueError, "cancelled", None])

    async def init(channel: Any) -> None:
        match next(ends):
            case "cancelled":
                scope.cancel()
                await anyio.sleep_forever()
            case type() as error:
                raise error

    described = spawned_worker[Any, Any](TALKER, execute="double", init=init)
    with pytest.raises(ValueError):  # noqa: PT011 - the one above
        await described.__aenter__()
    with anyio.CancelScope() as scope:
        await described.__aenter__()
    assert scope.cancelled_caught
    async with described as worker:
        assert await worker.execute(1) == 2


async def test_a_child_that_died_gives_the_entry_back() -> None:
    described = spawned_worker[Any, Any](TALKER, execute="misbehave")
    for _ in range(2):
        async with described as worker:
            with pytest.raises(WorkerDied):
                await worker.execute("kill")


async def test_a_pool_whose_factory_returns_one_description_is_told_and_has_one_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    described = spawned_worker[Any, Any](TALKER, execute="double")
    async with WorkPool(lambda: described, max_size=3) as pool, pool.stream(range(100), ordered=True) as outcomes:
        assert [outcome.unwrap() async for outcome in outcomes] == [2 * number for number in range(100)]
    assert "make one for each, as in WorkPool(lambda: spawned_worker(...))" in caplog.text
