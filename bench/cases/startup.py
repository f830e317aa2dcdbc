"""From the call to the first result of a first worker."""

from bench.case import Case, Goal, python

# The names are those of `bench.startup.HOW`, which imports what it measures and so is not imported here.
HOW = (
    "a bare script",
    "ours: a blocking child",
    "ours: an async child",
    "ours: pool of a function worker",
    "ProcessPoolExecutor, fork",
    "ProcessPoolExecutor, spawn",
    "loky",
    "anyio.to_process",
    "execnet",
)


def cases(seconds: float) -> list[Case]:
    contenders = [python(how, "startup", how=how) for how in HOW]
    goals = [Goal("ours: a blocking child", "a bare script", at_most=1.25)]
    return [Case("startup", "from the call to the first result; less is better", "ms", contenders, goals)]
