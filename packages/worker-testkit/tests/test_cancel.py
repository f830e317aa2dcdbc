import anyio
import anyio.lowlevel
import pytest

from worker_testkit import CancelAt, Cut, sweep_cancellation

pytestmark = pytest.mark.anyio


async def three_steps() -> str:
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
    return "done"


async def test_before_cancels_the_sleep_at_that_point() -> None:
    slept: list[int] = []
    with anyio.CancelScope() as scope:

        async def body() -> None:
            for number in range(5):
                await anyio.sleep(0.001)
                slept.append(number)

        await CancelAt(body(), scope, 3)
    assert scope.cancelled_caught
    assert slept == [0, 1]


async def test_after_lets_the_event_arrive_first() -> None:
    event = anyio.Event()
    seen: list[str] = []

    async def body() -> None:
        await event.wait()
        seen.append("event")
        await anyio.sleep(1)
        seen.append("never")

    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
            watched = CancelAt(body(), scope, 1, "after")
            event_set = group.start_soon
            event_set(_set, event)
            await watched
    assert seen == ["event"]


async def _set(event: anyio.Event) -> None:
    await anyio.wait_all_tasks_blocked()
    event.set()


async def test_a_sweep_reaches_every_suspension_and_then_the_end() -> None:
    cuts = await sweep_cancellation(three_steps, when=["before"])
    assert [cut.point for cut in cuts] == list(range(1, len(cuts) + 1))
    assert len(cuts) >= 4
    assert [cut.finished for cut in cuts] == [False] * (len(cuts) - 1) + [True]
    assert cuts[-1].result == "done"


async def test_both_ways_are_swept_and_every_run_is_checked() -> None:
    checked: list[Cut[str]] = []

    async def check(cut: Cut[str]) -> None:
        checked.append(cut)

    assert await sweep_cancellation(three_steps, check=check) == checked
    assert {cut.when for cut in checked} == {"before", "after"}


async def test_a_body_that_is_not_safe_is_caught_and_the_point_is_told() -> None:
    owned: list[str] = []

    async def careless() -> None:
        owned.append("resource")
        await anyio.sleep(0.001)
        owned.remove("resource")

    async def check(cut: Cut[None]) -> None:
        assert owned == []

    with pytest.raises(AssertionError) as caught:
        await sweep_cancellation(careless, check=check)
    assert caught.value.__notes__ == ["when cancelled before it slept at suspension 1"]


async def test_a_cancelled_body_that_hangs_is_caught() -> None:
    async def hangs() -> None:
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(0.2):
                await anyio.sleep_forever()

    with pytest.raises(TimeoutError):
        await sweep_cancellation(hangs, timeout=0.05)


async def test_a_body_without_end_is_caught() -> None:
    async def endless() -> None:
        with anyio.CancelScope(shield=True):
            for _ in range(100):
                await anyio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="still not at the end after 7 suspensions"):
        await sweep_cancellation(endless, limit=7)


async def test_errors_pass_through_the_awaitable() -> None:
    async def catches() -> str:
        try:
            with anyio.fail_after(0.01):
                await anyio.sleep(5)
        except TimeoutError:
            return "caught inside"
        return "not reached"

    with anyio.CancelScope() as scope:
        assert await CancelAt(catches(), scope, 1000) == "caught inside"
