"""One file per question; each answers `cases(seconds)`, where `seconds` is how long one load may last."""

from bench.case import Case
from bench.cases import batch, depth, strict

MODULES = (strict, depth, batch)


def all_cases(seconds: float) -> list[Case]:
    return [case for module in MODULES for case in module.cases(seconds)]
