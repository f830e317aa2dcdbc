"""Write down which faults each test proves and how it ended: `pytest --fault-record faults.jsonl`.

One JSON line per test that bears `@pytest.mark.fault(...)`, appended, so that several runs make one record.
`python -m worker_testkit.faults` turns it into a table.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


class Recorder:
    """A pytest plugin that appends to `path`. A test has passed when all of its phases have."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worst: dict[str, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the worst outcome of set-up, call and tear-down; write it down with the last."""
        report = yield
        worst = self._worst.get(item.nodeid, "passed")
        self._worst[item.nodeid] = worst if worst != "passed" else report.outcome
        if report.when == "teardown":
            self._write(item, self._worst.pop(item.nodeid))
        return report

    def _write(self, item: pytest.Item, outcome: str) -> None:
        rows = [str(row) for mark in item.iter_markers("fault") for row in mark.args]
        if not rows:
            return
        test, _, parameters = item.nodeid.partition("[")
        line = {"rows": rows, "test": test, "parameters": parameters.rstrip("]"), "outcome": outcome}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
