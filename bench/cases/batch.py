"""Many inputs per message: a plain function in child processes, where its calls are cheaper than a message."""

from bench.case import Case, Goal, python
from bench.loops import LOOPS

WORKERS = 2
CHUNKED = {
    "ProcessPoolExecutor, chunksize 64": "peers.process_pool_executor",
    "multiprocessing imap, chunksize 64": "peers.multiprocessing_pool",
    "loky, chunksize 64": "peers.loky_executor",
    "pebble, chunksize 64": "peers.pebble_pool",
    "mpire, chunksize 64": "peers.mpire_pool",
    "joblib, batch 64": "peers.joblib_parallel",
}


def cases(seconds: float) -> list[Case]:
    common = {"workers": WORKERS, "seconds": seconds}
    peers = [python(name, module, chunksize=64, **common) for name, module in CHUNKED.items()]
    ours = [python(f"ours: function worker, {loop}", "ours.functions", loop=loop, **common) for loop in LOOPS]
    goals = [
        Goal("ours: function worker, asyncio", "ProcessPoolExecutor, chunksize 64", at_least=4),
        Goal("ours: function worker, asyncio", "multiprocessing imap, chunksize 64", at_least=1.9),
    ]
    return [Case("batch", "a plain function, batched, 2 workers", "inputs/s", [*peers, *ours], goals)]
