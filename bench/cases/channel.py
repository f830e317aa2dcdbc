"""The channel without a pool: what the conversation itself costs, in multiples of the raw limit at the same depth."""

from bench.case import Case, Goal, python
from bench.loops import LOOPS

FLOORS = {1: 0.60, 8: 0.40, 64: 0.30}


def cases(seconds: float) -> list[Case]:
    return [channel_case(workers, depth, seconds) for workers in (1, 2) for depth in FLOORS]


def channel_case(workers: int, depth: int, seconds: float) -> Case:
    common = {"workers": workers, "depth": depth, "seconds": seconds}
    talks = ("request", "events") if depth == 1 else ("request",)
    contenders = [python("raw limit", "raw", **common)]
    for talk in talks:
        contenders += [
            python(f"ours: {talk}, {loop}", "ours.channel", talk=talk, loop=loop, **common) for loop in LOOPS
        ]
    goals = [
        Goal("ours: request, asyncio", "raw limit", at_least=FLOORS[depth]),
        Goal("ours: request, trio", "raw limit", at_least=round(FLOORS[depth] * 2 / 3, 2)),
    ]
    title = f"request and reply, no pool, {workers} child{'ren' * (workers > 1)}, {depth} in flight each"
    return Case(f"channel{workers}_depth{depth}", title, "inputs/s", contenders, goals)
