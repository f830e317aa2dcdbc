"""The vocabulary of a case: who runs, in which unit, and which ratios we promise."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Contender:
    """A name for the table, and the command that measures it once and prints one number."""

    name: str
    command: Sequence[str]


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio we promise: `ours` over `than`, at least or at most so much."""

    ours: str
    than: str
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        bound = f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"
        return f"{self.ours} {bound} x {self.than}"

    @property
    def key(self) -> str:
        """What the baseline knows it by: the promise may be tightened, the recorded ratio stays."""
        return f"{self.ours} / {self.than}"

    def is_met(self, ratio: float) -> bool:
        return ratio >= self.at_least if self.at_least is not None else ratio <= (self.at_most or 0)

    def has_worsened(self, ratio: float, recorded: float, tolerance: float) -> bool:
        """Whether `ratio` is worse than the recorded one by more than `tolerance`, a fraction."""
        better, worse = (recorded, ratio) if self.at_least is not None else (ratio, recorded)
        return worse < better * (1 - tolerance)


@dataclass(frozen=True, slots=True)
class Case:
    """Contenders that are compared with one another. The first is what the others are shown in multiples of."""

    name: str
    title: str
    unit: str
    contenders: Sequence[Contender]
    goals: Sequence[Goal] = ()


def python(name: str, module: str, **options: Any) -> Contender:
    """A contender in Python: a module of this package and its options (see `bench.one`)."""
    return Contender(name, [sys.executable, "-m", "bench.one", module, json.dumps(options)])


def node(name: str, script: str, **options: Any) -> Contender:
    """A contender in Node: a file of `peers_node/` and its options."""
    return Contender(name, ["node", str(HERE / "peers_node" / script), json.dumps(options)])
