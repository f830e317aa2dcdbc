"""The regression guard: `--record` writes down this run's ratios, `--check` compares with what was written.

Ratios, not speeds: they survive another machine far better, though not perfectly; record on the one that checks.
"""

import json

from bench.case import HERE
from bench.harness import Result

PATH = HERE / "baseline.json"
TOLERANCE = 0.25


def record(results: list[Result]) -> None:
    """Write the ratios of these cases, and keep those of the cases that did not run."""
    recorded = load()
    for result in results:
        recorded[result.case.name] = {goal.key: round(ratio, 3) for goal, ratio in result.goals() if ratio is not None}
    PATH.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")


def regressions(results: list[Result]) -> list[str]:
    """A sentence for each recorded ratio that this run fell short of by more than a quarter."""
    recorded = load()
    found = []
    for result in results:
        before = recorded.get(result.case.name, {})
        for goal, ratio in result.goals():
            if goal.key not in before:
                continue
            if ratio is None:
                found.append(f"{result.case.name}: {goal.key} was not measured")
            elif goal.has_worsened(ratio, before[goal.key], TOLERANCE):
                found.append(f"{result.case.name}: {goal.key} is {ratio:.2f}, it was {before[goal.key]:.2f}")
    return found


def load() -> dict[str, dict[str, float]]:
    return json.loads(PATH.read_text()) if PATH.exists() else {}
