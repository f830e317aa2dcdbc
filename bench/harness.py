"""Interleaved rounds: in each, every contender of a case once, in a fresh process; then medians and ratios."""

import os
import signal
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.case import HERE, Case, Contender, Goal

LIMIT = 120
"""Seconds for one measurement, start-up included: no load is meant to last more than a few."""


@dataclass(slots=True)
class Result:
    """What one case gave: a number per contender and round, or why there is none."""

    case: Case
    values: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(self.values[name])

    def ratio(self, ours: str, than: str) -> float | None:
        """The median of the rounds' ratios: what drifts between rounds moves both sides of each."""
        if ours in self.errors or than in self.errors:
            return None
        pairs = zip(self.values[ours], self.values[than], strict=True)
        return statistics.median(one / other for one, other in pairs)

    def goals(self) -> list[tuple[Goal, float | None]]:
        return [(goal, self.ratio(goal.ours, goal.than)) for goal in self.case.goals]


def run_case(case: Case, rounds: int, report: Callable[[str], None]) -> Result:
    """Run all rounds of a case; a contender that fails is out, and said to be."""
    result = Result(case, {contender.name: [] for contender in case.contenders})
    for number in range(rounds):
        for contender in case.contenders:
            if contender.name in result.errors:
                continue
            report(f"{case.name}: round {number + 1} of {rounds}: {contender.name}")
            try:
                result.values[contender.name].append(run_once(contender))
            except MeasurementFailed as error:
                result.errors[contender.name] = str(error)
    return result


class MeasurementFailed(Exception):
    """A contender gave no number: it failed, gave a wrong result, is not installed, or took too long."""


def run_once(contender: Contender) -> float:
    """One measurement, in a process group of its own, so that one that hangs leaves nothing behind."""
    with subprocess.Popen(
        contender.command,
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            raise MeasurementFailed(f"took longer than {LIMIT} s") from None
        finally:
            if process.returncode is None:  # not reaped yet, so the group is still ours to end
                os.killpg(process.pid, signal.SIGKILL)
    try:
        return float(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        lines = errors.strip().splitlines() or [f"exit status {process.returncode}"]
        raise MeasurementFailed(lines[-1]) from None
