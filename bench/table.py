"""One table to read and one JSON document to keep."""

import os
import platform
from importlib.metadata import distributions
from typing import Any

from bench.harness import Result

NAMED = ("worker-", "anyio", "trio", "uvloop", "orjson", "numpy", "loky", "pebble", "mpire", "joblib", "execnet", "aio")


def as_text(results: list[Result]) -> str:
    """Each case in turn: median, range, multiple of its first contender; then the promises."""
    return "\n\n".join(text_of_case(result) for result in results)


def text_of_case(result: Result) -> str:
    case = result.case
    width = max(len(contender.name) for contender in case.contenders)
    first = case.contenders[0].name
    lines = [f"{case.name}: {case.title}", f"  {'':{width}}  {case.unit:>12}  {'min - max':>23}  ratio"]
    for name, values in result.values.items():
        if name in result.errors:
            lines.append(f"  {name:{width}}  not measured: {result.errors[name]}")
            continue
        spread = f"{number(min(values))} - {number(max(values))}"
        ratio = result.ratio(name, first)
        lines.append(
            f"  {name:{width}}  {number(result.median(name)):>12}  {spread:>23}  {f'{ratio:.3g}' if ratio else '-':>5}"
        )
    for goal, ratio in result.goals():
        verdict = "not measured" if ratio is None else f"{ratio:.2f} {'ok' if goal.is_met(ratio) else 'MISSED'}"
        lines.append(f"  -> {goal}: {verdict}")
    return "\n".join(lines)


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def as_json(results: list[Result]) -> dict[str, Any]:
    """Every number of every round, with the machine and the versions that gave them."""
    return {
        "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version()},
        "versions": {
            item.name: item.version for item in sorted(distributions(), key=str) if item.name.startswith(NAMED)
        },
        "cases": [
            {
                "name": result.case.name,
                "title": result.case.title,
                "unit": result.case.unit,
                "values": result.values,
                "errors": result.errors,
                "goals": {str(goal): ratio for goal, ratio in result.goals()},
            }
            for result in results
        ],
    }
