"""Turn the record of a test run into a table of promises kept: `python -m worker_testkit.faults --help`.

The catalogue is a TOML file of parts and rows (`row`, `fault`, `promise`, and `unproven`, the reason, for a row that
cannot be tested here). The record is what `pytest --fault-record FILE` wrote. The table replaces what stands between
two marker comments of a Markdown file. The text depends on nothing but these three: no date, no machine.

The exit status is 1 if a row has no test and no reason, or if a test of a row did not pass.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ("BEGIN", "END", "Part", "Row", "add_record", "main", "put_between_markers", "read_catalogue", "render")

# The generated table stands in its document between these two lines.
BEGIN = "<!-- faults: generated, do not edit -->"
END = "<!-- /faults -->"


@dataclass(slots=True)
class Row:
    """One fault: what is promised, and the tests that prove it (name -> parameters -> outcome)."""

    row: str
    fault: str
    promise: str
    unproven: str = ""
    tests: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def verdict(self) -> str:
        """One or two words for the table."""
        runs = [outcome for by_parameters in self.tests.values() for outcome in by_parameters.values()]
        if any(outcome == "failed" for outcome in runs):
            return "**broken**"
        if any(outcome == "passed" for outcome in runs):
            return f"kept ({len(self.tests)})"
        return "see below" if self.unproven else "**no test**"

    @property
    def is_good(self) -> bool:
        """Whether the promise is proven, or excused."""
        return not self.verdict.startswith("**")


@dataclass(slots=True)
class Part:
    """A group of rows under one heading."""

    name: str
    rows: list[Row]


def read_catalogue(path: Path) -> list[Part]:
    """Read the catalogue; a row that stands there twice is an error."""
    parts = [
        Part(part["name"], [Row(**row) for row in part["rows"]])
        for part in tomllib.loads(path.read_text(encoding="utf-8"))["part"]
    ]
    names = [row.row for part in parts for row in part.rows]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"in the catalogue more than once: {', '.join(sorted(twice))}")
    return parts


def add_record(parts: Iterable[Part], lines: Iterable[str]) -> None:
    """Enter the recorded tests into their rows. The last run of a test counts; ValueError for a row that has none."""
    rows = {row.row: row for part in parts for row in part.rows}
    for line in lines:
        entry = json.loads(line)
        for name in entry["rows"]:
            if name not in rows:
                raise ValueError(f"{entry['test']} claims to prove row {name!r}, which is not in the catalogue")
            if rows[name].unproven:
                raise ValueError(f"{entry['test']} claims to prove row {name!r}, which the catalogue calls unproven")
            rows[name].tests[entry["test"]][entry["parameters"]] = entry["outcome"]


def render(parts: Sequence[Part]) -> str:
    """Return the tables, the evidence and the reasons, as Markdown."""
    return "\n".join(_lines(parts)).rstrip() + "\n"


def _lines(parts: Sequence[Part]) -> Iterator[str]:
    rows = [row for part in parts for row in part.rows]
    proven = sum(row.verdict.startswith("kept") for row in rows)
    tests = {test for row in rows for test in row.tests}
    yield f"{len(rows)} faults; {proven} promises proven by {len(tests)} tests; the rest have a reason below.\n"
    for part in parts:
        yield f"### {part.name}\n"
        yield "| # | fault | what is promised | result (tests) |"
        yield "| --- | --- | --- | --- |"
        for row in part.rows:
            yield f"| {row.row} | {row.fault} | {row.promise} | {row.verdict} |"
        yield ""
    yield from _reasons(rows)
    yield from _evidence(rows)


def _reasons(rows: Sequence[Row]) -> Iterator[str]:
    yield "### Not proven here, and why\n"
    excused = [row for row in rows if row.unproven]
    for row in excused:
        yield f"* **{row.row}** {row.fault}: {row.unproven}."
    yield "" if excused else "Nothing.\n"


def _evidence(rows: Sequence[Row]) -> Iterator[str]:
    yield "### Which tests prove it\n"
    for row in rows:
        if row.tests:
            yield f"* **{row.row}** " + ", ".join(_test(name, runs) for name, runs in sorted(row.tests.items()))


def _test(name: str, runs: dict[str, str]) -> str:
    bad = sorted({outcome for outcome in runs.values() if outcome != "passed"})
    return f"`{name}`" + (f" ({', '.join(bad)})" if bad else "")


def put_between_markers(document: str, text: str) -> str:
    """Replace what stands between the two marker comments; they must be there, once."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document must contain {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker_testkit.faults", description=__doc__)
    parser.add_argument("catalogue", type=Path, help="the TOML file of faults and promises")
    parser.add_argument("record", type=Path, nargs="+", help="what pytest --fault-record wrote")
    parser.add_argument("--into", type=Path, metavar="FILE.md", help="a document with the two marker comments")
    options = parser.parse_args(arguments)
    parts = read_catalogue(options.catalogue)
    for record in options.record:
        add_record(parts, record.read_text(encoding="utf-8").splitlines())
    text = render(parts)
    if options.into is None:
        sys.stdout.write(text)
    else:
        options.into.write_text(put_between_markers(options.into.read_text(encoding="utf-8"), text), encoding="utf-8")
    bad = [row for part in parts for row in part.rows if not row.is_good]
    for row in bad:
        sys.stdout.write(f"{row.row}: {row.verdict.strip('*')}: {row.fault}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
