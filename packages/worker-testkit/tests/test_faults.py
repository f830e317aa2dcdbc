"""From marked tests to the table: recorded by a run, rendered by the command."""

import json
from pathlib import Path

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


def record(pytester: pytest.Pytester, fails: str = "none") -> Path:
    pytester.makepyfile(test_it=TESTS.replace("{fails}", fails))
    pytester.runpytest_subprocess("--fault-record", "faults.jsonl", "-p", "no:cacheprovider")
    (pytester.path / "faults.toml").write_text(CATALOGUE)
    return pytester.path / "faults.jsonl"


def test_a_run_is_recorded_test_by_test(pytester: pytest.Pytester) -> None:
    lines = [json.loads(line) for line in record(pytester, fails="b").read_text().splitlines()]
    assert [(line["rows"], line["test"], line["parameters"], line["outcome"]) for line in lines] == [
        (["1"], "test_it.py::test_falls", "a", "passed"),
        (["1"], "test_it.py::test_falls", "b", "failed"),
        (["S1"], "test_it.py::test_breaks", "", "passed"),
    ]


def test_a_leak_found_at_the_end_of_a_test_breaks_its_promise(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import os, pytest\n@pytest.mark.fault(1)\ndef test_it(no_leaks): os.open('/', os.O_RDONLY)\n")
    pytester.runpytest_subprocess("--fault-record", "f.jsonl", "-o", "leak_check_patience=0.1")
    assert json.loads((pytester.path / "f.jsonl").read_text())["outcome"] == "failed"


def test_the_table_goes_between_the_markers_and_stays_the_same(pytester: pytest.Pytester) -> None:
    path = record(pytester)
    document = pytester.path / "reliability.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    arguments = [str(pytester.path / "faults.toml"), str(path), "--into", str(document)]
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
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    path = record(pytester, fails="a")
    catalogue = pytester.path / "faults.toml"
    catalogue.write_text(CATALOGUE.replace(', unproven = "no wind here"', ""))
    assert main([str(catalogue), str(path)]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["1: broken: It falls", "2: no test: It flies"]


def test_a_later_run_replaces_an_earlier_one(pytester: pytest.Pytester) -> None:
    path = record(pytester, fails="a")
    record(pytester)
    assert main([str(pytester.path / "faults.toml"), str(path)]) == 0


def test_an_unknown_row_is_an_error(tmp_path: Path) -> None:
    catalogue = tmp_path / "faults.toml"
    catalogue.write_text(CATALOGUE)
    line = json.dumps({"rows": ["77"], "test": "test_it", "parameters": "", "outcome": "passed"})
    with pytest.raises(ValueError, match="test_it claims to prove row '77'"):
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
