"""What a source costs per item, beside what one would use otherwise: in memory, and in a file."""

from bench.case import Case, Goal, python

OURS = "ours: QueueSource"
PEERS = {"asyncio": ("asyncio.Queue", "anyio memory stream"), "trio": ("anyio memory stream",)}
SYNCHRONOUS = "the same statements, synchronous"


def cases(seconds: float) -> list[Case]:
    return [*[queue_case(loop, seconds) for loop in PEERS], put_case(seconds), work_case(seconds)]


def queue_case(loop: str, seconds: float) -> Case:
    names = (*PEERS[loop], OURS)
    contenders = [python(name, "queues", how=name, loop=loop, seconds=seconds) for name in names]
    goals = [Goal(OURS, "anyio memory stream", at_least=3)]
    if loop == "asyncio":
        goals.append(Goal(OURS, "asyncio.Queue", at_least=1))
    return Case(f"queue_{loop}", f"one producer, one consumer, 100 places, {loop}", "items/s", contenders, goals)


def put_case(seconds: float) -> Case:
    jobs = int(80_000 * seconds)
    ours = "ours: put in hundreds"
    contenders = [
        python(SYNCHRONOUS, "durable", how=SYNCHRONOUS, jobs=jobs),
        *[python(f"{ours}, {loop}", "durable", how=ours, jobs=jobs, loop=loop) for loop in PEERS],
    ]
    goals = [Goal(f"{ours}, asyncio", SYNCHRONOUS, at_least=0.6)]
    return Case("sqlite_put", "put into a file, 100 per transaction", "jobs/s", contenders, goals)


def work_case(seconds: float) -> Case:
    jobs = int(8_000 * seconds)
    ours, crowded = "ours: pool of 16", "ours: pool of 16, a million more queued"
    contenders = [
        python("litequeue", "durable", how="litequeue", jobs=jobs // 2),
        python("persist-queue", "durable", how="persist-queue", jobs=jobs // 20),
        *[python(f"{ours}, {loop}", "durable", how=ours, jobs=jobs, loop=loop) for loop in PEERS],
    ]
    goals = [Goal(f"{ours}, asyncio", "litequeue", at_least=1)]
    if seconds > 0.2:  # a million rows take ten seconds to put
        contenders.append(python(crowded, "durable", how=crowded, jobs=jobs, loop="asyncio"))
        goals.append(Goal(crowded, f"{ours}, asyncio", at_least=0.8))
    return Case("sqlite_work", "claim, a no-op, acknowledge: one by one from a file", "jobs/s", contenders, goals)
