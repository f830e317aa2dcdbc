"""Each example does what its first lines say, on both loops, from any directory, and says nothing on stderr."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from python_on import python_on

EXAMPLES = Path(__file__).parent.parent / "examples"
CHILDREN = {"brewer.py", "double.py", "double.mjs", "primes.py"}  # what other examples run or import
NEEDS = {
    "chess_pool.py": ["stockfish"],
    "exif_folder.py": ["exiftool", "identify"],  # ImageMagick's: a `convert` may be another program's
    "image_compressor.py": ["identify"],
    "node_child.py": ["node"],
    "node_parent.mjs": ["node"],
}
programs = [
    pytest.param(path, marks=pytest.mark.node if "node" in NEEDS.get(path.name, []) else (), id=path.name)
    for path in sorted(EXAMPLES.iterdir())
    if path.suffix in {".py", ".mjs"} and path.name not in CHILDREN
]
every_example = pytest.mark.parametrize("example", programs)


@pytest.fixture(autouse=True)
def checked(no_leaks: None) -> None:
    """Nothing may be left behind."""


@pytest.mark.parametrize("name", sorted(CHILDREN))
def test_what_is_no_example_by_itself_says_which_to_run(name: str) -> None:
    _, _, told = (EXAMPLES / name).read_text().partition("It is no example by itself: run ")
    examples = re.findall(r"`(?:python|node) examples/(\S+)`", told)
    assert examples
    assert all(name in (EXAMPLES / example).read_text() for example in examples)


def run(command: list[str], folder: Path) -> list[str]:
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def said(example: Path) -> list[str]:
    """What the first lines of an example say it prints."""
    text = re.sub(r"^// ?", "", example.read_text(), flags=re.MULTILINE)
    block = re.search(r"^ *\$ (?:python|node) .*\n((?:.+\n)+?)(?:\n|\"\"\"|import)", text, re.MULTILINE)
    assert block is not None, "its first lines show how to run it, and what it prints"
    return [line.strip() for line in block[1].splitlines()]


def as_said(line: str, said: str) -> bool:
    """Whether `line` is what was said, but for what is measured: seconds, and how many workers were needed."""
    measured = r"\d+( of at most \d+)? workers, \d+\.\d seconds"
    return re.sub(measured, "#", line) == re.sub(measured, "#", said)


@every_example
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_prints_what_it_says(example: Path, backend: str, tmp_path: Path) -> None:
    for program in NEEDS.get(example.name, []):
        if program != "node" and shutil.which(program, path=f"{os.environ['PATH']}:/usr/games") is None:
            pytest.skip(f"{program} is not installed")
    command = ["node", str(example)] if example.suffix == ".mjs" else [*python_on(backend), str(example)]
    printed, expected = run(command, tmp_path), said(example)
    if "..." in expected:  # lines in the order in which their inputs ended, and then the last one
        *shown, _, last = expected
        assert set(shown) <= set(printed)
        printed, expected = printed[-1:], [last]
    assert len(printed) == len(expected)
    assert [pair for pair in zip(printed, expected, strict=True) if not as_said(*pair)] == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_it_is_read_in_a_minute(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 60
