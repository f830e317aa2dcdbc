"""Large payloads: text as JSON, bytes and arrays as they are."""

from bench.case import Case, Goal, python
from bench.loops import LOOPS

SIZES = {"json": (1, 16), "bytes": (1,), "numpy": (1, 16)}


def cases(seconds: float) -> list[Case]:
    return [payload_case(kind, size, seconds) for kind, sizes in SIZES.items() for size in sizes]


def payload_case(kind: str, megabytes: int, seconds: float) -> Case:
    common = {"kind": kind, "megabytes": megabytes, "seconds": seconds}
    contenders = [
        python("bare frames", "payload", way="frames", **common),
        *[python(f"ours, {loop}", "payload", way="ours", loop=loop, **common) for loop in LOOPS],
        python("multiprocessing.Pool", "payload", way="multiprocessing", **common),
        python("ProcessPoolExecutor", "payload", way="executor", **common),
    ]
    goals = []
    if kind == "json":
        goals.append(Goal("ours, asyncio", "bare frames", at_least=1 / 1.3))
    if kind == "numpy" and megabytes == 1:
        goals.append(Goal("ours, asyncio", "multiprocessing.Pool", at_least=3))
    title = f"{megabytes} MB to a worker as {kind}, its size back, 1 worker"
    return Case(f"payload_{kind}_{megabytes}mb", title, "MB/s", contenders, goals)
