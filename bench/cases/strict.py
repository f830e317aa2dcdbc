"""A strict conversation: one message each way per input, nothing sent before the last answer is there."""

from bench.case import Case, Goal, node, python
from bench.loops import LOOPS

WORKERS = 2


def cases(seconds: float) -> list[Case]:
    common = {"workers": WORKERS, "seconds": seconds}
    ours = [
        python(f"ours: {talk}, {loop}", "ours.stack", talk=talk, loop=loop, depth=1, **common)
        for talk in ("request", "events")
        for loop in LOOPS
    ]
    peers = [
        python("ProcessPoolExecutor, chunksize 1", "peers.process_pool_executor", chunksize=1, **common),
        python("multiprocessing imap, chunksize 1", "peers.multiprocessing_pool", chunksize=1, **common),
        python("loky, chunksize 1", "peers.loky_executor", chunksize=1, **common),
        python("pebble, chunksize 1", "peers.pebble_pool", chunksize=1, **common),
        python("mpire, chunksize 1", "peers.mpire_pool", chunksize=1, **common),
        python("joblib, batch 1", "peers.joblib_parallel", chunksize=1, **common),
        python("anyio.to_process, asyncio", "peers.anyio_to_process", loop="asyncio", **common),
        python("anyio.to_process, trio", "peers.anyio_to_process", loop="trio", **common),
        python("trio-parallel", "peers.trio_parallel_workers", loop="trio", **common),
        python("execnet, strict", "peers.execnet_channel", window=1, **common),
        node("travetto worker 1.1.1", "travetto.js", **common),
        node("piscina (threads)", "piscina.js", depth=1, **common),
        node("workerpool (processes)", "workerpool.js", type="process", depth=1, **common),
        node("node fork", "fork.js", depth=1, **common),
    ]
    floors = {"request": (0.70, 0.75, 0.55), "events": (0.58, 0.66, 0.44)}
    goals = [
        Goal(f"ours: {talk}, {loop}", "raw limit", at_least=floor)
        for talk in floors
        for loop, floor in zip(LOOPS, floors[talk], strict=True)
    ]
    for talk in floors:
        goals.append(Goal(f"ours: {talk}, asyncio", "travetto worker 1.1.1", at_least=1.7))
        goals.append(Goal(f"ours: {talk}, asyncio", "ProcessPoolExecutor, chunksize 1", at_least=3.5))
    limit = python("raw limit", "raw", depth=1, **common)
    title = "one message each way per input, 2 workers"
    return [Case("strict", title, "inputs/s", [limit, *ours, *peers], goals)]
