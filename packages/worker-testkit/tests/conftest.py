"""Runs of pytest inside these tests, each a process of its own.

Most of such a run is its start. So a module makes few of them, of many small files, and looks at each file by itself.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

# The inner run tells about each phase of each test: the file, the outcome as pytest counts it, and the text.
TELLS = """
import json

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        outcome = report.outcome if report.when == "call" or report.outcome == "skipped" else "errors"
        with open("reports.jsonl", "a") as file:
            file.write(json.dumps([report.fspath, outcome, report.longreprtext]) + "\\n")
"""


@dataclass(frozen=True)
class Told:
    """What an inner run told about one file."""

    outcomes: dict[str, int]  # as pytest counts them: passed, failed, errors, skipped
    text: str  # of what failed


@dataclass(frozen=True)
class InnerRun:
    """A run of pytest that has ended."""

    folder: Path
    about: Mapping[str, Told]  # by the name of the file, without its suffix
    summary: str  # its last line


RunPytest = Callable[..., InnerRun]


@pytest.fixture(scope="session")
def run_pytest(tmp_path_factory: pytest.TempPathFactory) -> RunPytest:
    """Return `run(files, *arguments, ini="")`, where `files` is name -> text and `ini` is lines of options."""

    def run(files: Mapping[str, str], *arguments: str, ini: str = "") -> InnerRun:
        folder = tmp_path_factory.mktemp("inner")
        (folder / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
        (folder / "conftest.py").write_text(TELLS)
        for name, text in files.items():
            (folder / f"{name}.py").write_text(dedent(text))
        command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
        done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=50)
        assert done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED), (
            done.stdout + done.stderr
        )
        about = _told(files, (folder / "reports.jsonl").read_text().splitlines())
        return InnerRun(folder, about, done.stdout.splitlines()[-1])

    return run


def _told(files: Mapping[str, str], lines: list[str]) -> dict[str, Told]:
    reports = [json.loads(line) for line in lines]
    return {
        name: Told(
            dict(Counter(outcome for file, outcome, _ in reports if Path(file).stem == name)),
            "\n".join(text for file, _, text in reports if Path(file).stem == name),
        )
        for name in files
    }
