"""What the pool costs by itself, in multiples of the bare loop `await execute(x)` on the same event loop."""

from bench.case import Case, Goal, python

OURS = ("process", "stream", "execute")
PEERS = {
    "asyncio": ("anyio task group + semaphore", "asyncio.TaskGroup + Semaphore", "aiometer"),
    "trio": ("anyio task group + semaphore", "aiometer"),
}
CEILINGS = {"asyncio": 4, "trio": 5}


def cases(seconds: float) -> list[Case]:
    return [overhead_case(loop, seconds) for loop in PEERS]


def overhead_case(loop: str, seconds: float) -> Case:
    common = {"loop": loop, "seconds": seconds}
    contenders = [
        python("bare loop", "in_process", how="bare loop", **common),
        *[python(f"ours: {how}", "in_process", how=how, **common) for how in OURS],
        *[python(how, "in_process", how=how, **common) for how in PEERS[loop]],
    ]
    goals = [
        Goal("ours: process", "bare loop", at_most=CEILINGS[loop]),
        Goal("ours: stream", "bare loop", at_most=15),
        Goal("ours: process", "anyio task group + semaphore", at_most=1 / 20),
        Goal("ours: process", "aiometer", at_most=1 / 20),
    ]
    title = f"a no-op execute, 4 in parallel, {loop}; less is better"
    return Case(f"pool_overhead_{loop}", title, "us/input", contenders, goals)
