"""What a source costs per item, beside what one would use otherwise."""

from bench.case import Case, Goal, python

OURS = "ours: QueueSource"
PEERS = {"asyncio": ("asyncio.Queue", "anyio memory stream"), "trio": ("anyio memory stream",)}


def cases(seconds: float) -> list[Case]:
    return [queue_case(loop, seconds) for loop in PEERS]


def queue_case(loop: str, seconds: float) -> Case:
    names = (*PEERS[loop], OURS)
    contenders = [python(name, "queues", how=name, loop=loop, seconds=seconds) for name in names]
    goals = [Goal(OURS, "anyio memory stream", at_least=3)]
    if loop == "asyncio":
        goals.append(Goal(OURS, "asyncio.Queue", at_least=1))
    return Case(f"queue_{loop}", f"one producer, one consumer, 100 places, {loop}", "items/s", contenders, goals)
