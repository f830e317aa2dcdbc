"""A million lazy inputs: how many are held at once, and what that does to memory."""

from bench.case import Case, Contender, Goal, python

WORKERS = 2
DEPTH = 64


def cases(seconds: float) -> list[Case]:
    contenders = {of: contenders_of(of, seconds) for of in ("ahead", "growth")}
    lazy = [
        Goal(f"ours: request, {DEPTH} in flight", "workers x in-flight", at_most=1),
        Goal("ours: request, strict", "workers x in-flight", at_most=1 / DEPTH),
    ]
    flat = [Goal(name, "5 MB", at_most=1) for name in OURS]
    exact = Contender("workers x in-flight", ["echo", str(WORKERS * DEPTH)])
    limit = Contender("5 MB", ["echo", "5"])
    return [
        Case(
            "readahead", "most inputs taken before their result, of 1e6", "inputs", [exact, *contenders["ahead"]], lazy
        ),
        Case("memory", "growth of the parent over 1e6 lazy inputs", "MB", [limit, *contenders["growth"]], flat),
    ]


OURS = {
    "ours: request, strict": ("ours.stack", {"talk": "request", "depth": 1, "loop": "asyncio"}, 4),
    "ours: request, 64 in flight": ("ours.stack", {"talk": "request", "depth": DEPTH, "loop": "asyncio"}, 20),
    "ours: request, 64 in flight, trio": ("ours.stack", {"talk": "request", "depth": DEPTH, "loop": "trio"}, 20),
    "ours: function worker": ("ours.functions", {"loop": "asyncio"}, 20),
}
"""What is measured: its module, its options, and for how long it may take inputs (a million, where that is quick)."""

PEERS = {
    "ProcessPoolExecutor, chunksize 1": ("peers.process_pool_executor", {"chunksize": 1}, 1),
    "ProcessPoolExecutor, chunksize 64": ("peers.process_pool_executor", {"chunksize": 64}, 4),
    "multiprocessing imap, chunksize 1": ("peers.multiprocessing_pool", {"chunksize": 1}, 4),
    "multiprocessing imap, chunksize 64": ("peers.multiprocessing_pool", {"chunksize": 64}, 4),
    "loky, chunksize 1": ("peers.loky_executor", {"chunksize": 1}, 1),
    "pebble, chunksize 1": ("peers.pebble_pool", {"chunksize": 1}, 1),
    "mpire, chunksize 1": ("peers.mpire_pool", {"chunksize": 1}, 2),
    "joblib, batch 1": ("peers.joblib_parallel", {"chunksize": 1}, 2),
    "anyio.to_process": ("peers.anyio_to_process", {"loop": "asyncio"}, 2),
    "trio-parallel": ("peers.trio_parallel_workers", {"loop": "trio"}, 2),
    "execnet, window 64": ("peers.execnet_channel", {"window": 64}, 2),
}
"""Those that take everything at once get a second: what they took must still be worked off."""


def contenders_of(of: str, seconds: float) -> list[Contender]:
    brisk = min(1.0, seconds * seconds * 4)  # --quick: a sixth of everything
    return [
        python(name, "memory", of=of, contender=module, workers=WORKERS, seconds=limit * brisk, **options)
        for name, (module, options, limit) in {**OURS, **PEERS}.items()
    ]
