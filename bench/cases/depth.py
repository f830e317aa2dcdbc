"""Several inputs in flight on each worker: what overlapping hides of the two wake-ups that each message costs."""

from bench.case import Case, Goal, node, python
from bench.loops import LOOPS

WORKERS = 2
FLOORS = {8: (0.50, 0.55, 0.36), 64: (0.34, 0.40, 0.32)}
MULTIPROCESSING = "multiprocessing imap, chunksize 1"


def cases(seconds: float) -> list[Case]:
    return [depth_case(depth, seconds) for depth in FLOORS]


def depth_case(depth: int, seconds: float) -> Case:
    common = {"workers": WORKERS, "seconds": seconds}
    limit = python("raw limit", "raw", depth=depth, **common)
    ours = [
        python(f"ours: request, {loop}", "ours.stack", talk="request", loop=loop, depth=depth, **common)
        for loop in LOOPS
    ]
    peers = [
        python(MULTIPROCESSING, "peers.multiprocessing_pool", chunksize=1, **common),
        python(f"execnet, window {depth}", "peers.execnet_channel", window=depth, **common),
        node("piscina (threads)", "piscina.js", depth=depth, **common),
        node("workerpool (processes)", "workerpool.js", type="process", depth=depth, **common),
        node("node fork", "fork.js", depth=depth, **common),
    ]
    goals = [
        Goal(f"ours: request, {loop}", "raw limit", at_least=floor)
        for loop, floor in zip(LOOPS, FLOORS[depth], strict=True)
    ]
    goals.append(Goal("ours: request, asyncio", MULTIPROCESSING, at_least=2.5 if depth == 8 else 3.5))
    if depth == 64:
        goals.append(Goal("ours: request, asyncio", "node fork", at_least=2))
    return Case(f"depth{depth}", f"{depth} in flight per worker, 2 workers", "inputs/s", [limit, *ours, *peers], goals)
