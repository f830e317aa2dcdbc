"""One file per question; each answers `cases(seconds)`, where `seconds` is how long one load may last."""

from bench.case import Case
from bench.cases import batch, channel, depth, memory, payloads, pool_overhead, scaling, sources, startup, strict

MODULES = (strict, depth, batch, channel, payloads, startup, memory, pool_overhead, sources, scaling)


def all_cases(seconds: float) -> list[Case]:
    return [case for module in MODULES for case in module.cases(seconds)]
