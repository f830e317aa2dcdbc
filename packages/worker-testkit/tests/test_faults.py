"""From marked tests to the table: recorded by a run, rendered by the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from worker_testkit.faults import BEGIN, END, add_record, main, read_catalogue, render

CATALOGUE = """
[[part]]
name = "A. Falling"
rows = [
  { row = "1", fault = "It falls", promise = "It is caught" },
  { row = "S1", fault = "It breaks", promise = "It is mended" },
  { row = "2", fault = "It flies", promise = "Nothing", unproven = "no wind here" },
]
"""
TESTS = """
import pytest
@pytest.mark.fault(1)
@pytest.mark.parametrize("loop", ["a", "b"])
def test_falls(loop):
    assert loop != "{fails}"
@pytest.mark.fault("S1")
def test_breaks(): pass
def test_unmarked(): pass
"""


LEAKING = """
import os, pytest
@pytest.mark.fault(1)
def test_it(no_leaks): os.open("/", os.O_RDONLY)
"""


@pytest.fixture(scope="module")
def good(run_pytest: Any) -> Path:
    """The record of a run in which every promise was kept."""
    return run_pytest({"test_it": TESTS.format(fails="none")}, "--fault-record=faults.jsonl").folder / "faults.jsonl"


@pytest.fixture(scope="module")
def bad(run_pytest: Any) -> Path:
    """The record of a run in which row 1 was broken."""
    return run_pytest({"test_it": TESTS.format(fails="b")}, "--fault-record=faults.jsonl").folder / "faults.jsonl"


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "faults.toml"
    path.write_text(CATALOGUE)
    return path


def test_a_run_is_recorded_test_by_test(bad: Path) -> None:
    lines = [json.loads(line) for line in bad.read_text().splitlines()]
    assert [(line["rows"], line["test"], line["parameters"], line["outcome"]) for line in lines] == [
        (["1"], "test_it.py::test_falls", "a", "passed"),
        (["1"], "test_it.py::test_falls", "b", "failed"),
        (["S1"], "test_it.py::test_breaks", "", "passed"),
    ]


def test_a_leak_found_at_the_end_of_a_test_breaks_its_promise(run_pytest: Any) -> None:
    run = run_pytest({"test_it": LEAKING}, "--fault-record=faults.jsonl", ini="leak_check_patience = 0.1")
    assert json.loads((run.folder / "faults.jsonl").read_text())["outcome"] == "failed"


def test_the_table_goes_between_the_markers_and_stays_the_same(good: Path, catalogue: Path) -> None:
    document = catalogue.with_name("reliability.md")
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    arguments = [str(catalogue), str(good), "--into", str(document)]
    assert main(arguments) == 0
    first = document.read_text()
    assert first.startswith("before\n")
    assert first.endswith("after\n")
    assert "| 1 | It falls | It is caught | kept (1) |" in first
    assert "* **2** It flies: no wind here." in first
    assert "old" not in first
    assert main(arguments) == 0
    assert document.read_text() == first


def test_a_broken_promise_and_a_missing_test_fail(
    bad: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue.write_text(CATALOGUE.replace(', unproven = "no wind here"', ""))
    assert main([str(catalogue), str(bad)]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["1: broken: It falls", "2: no test: It flies"]


def test_a_later_run_replaces_an_earlier_one(good: Path, bad: Path, catalogue: Path) -> None:
    assert main([str(catalogue), str(bad), str(good)]) == 0
    assert main([str(catalogue), str(good), str(bad)]) == 1


def test_a_record_is_appended_to(run_pytest: Any, tmp_path: Path) -> None:
    record = tmp_path / "faults.jsonl"
    record.write_text("an earlier run\n")
    run_pytest({"test_it": "import pytest\n@pytest.mark.fault(1)\ndef test_it(): pass"}, f"--fault-record={record}")
    earlier, later = record.read_text().splitlines()
    assert earlier == "an earlier run"
    assert json.loads(later)["outcome"] == "passed"


@pytest.mark.parametrize(
    ("row", "problem"),
    [("77", "test_it claims to prove row '77'"), ("2", "which the catalogue calls unproven")],
    ids=["unknown", "unproven"],
)
def test_a_row_that_has_no_tests_is_an_error(tmp_path: Path, row: str, problem: str) -> None:
    catalogue = tmp_path / "faults.toml"
    catalogue.write_text(CATALOGUE)
    line = json.dumps({"rows": [row], "test": "test_it", "parameters": "", "outcome": "passed"})
    with pytest.raises(ValueError, match=problem):
        add_record(read_catalogue(catalogue), [line])


def test_a_row_that_stands_there_twice_is_an_error(tmp_path: Path) -> None:
    catalogue = tmp_path / "faults.toml"
    catalogue.write_text(CATALOGUE + CATALOGUE)
    with pytest.raises(ValueError, match="more than once: 1, 2, S1"):
        read_catalogue(catalogue)


def test_a_skipped_test_proves_nothing(tmp_path: Path) -> None:
    catalogue = tmp_path / "faults.toml"
    catalogue.write_text(CATALOGUE)
    parts = read_catalogue(catalogue)
    add_record(parts, [json.dumps({"rows": ["1"], "test": "t", "parameters": "", "outcome": "skipped"})])
    assert "| 1 | It falls | It is caught | **no test** |" in render(parts)
