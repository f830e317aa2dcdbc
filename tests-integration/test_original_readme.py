"""The examples of the original README, as docs/from-travetto.md transcribes them, work as they stand on both loops."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from python_on import python_on

DOCUMENT = Path(__file__).parent.parent / "docs" / "from-travetto.md"
both_loops = pytest.mark.parametrize("backend", ["asyncio", "trio"])
needs_image_magick = pytest.mark.skipif(  # a `convert` may be another program's, `identify` is not
    not shutil.which("identify"), reason="ImageMagick is not installed"
)


@pytest.fixture(autouse=True)
def checked(no_leaks: None) -> None:
    """Nothing may be left behind."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with the Python blocks of the document, each under the name that it begins with."""
    for block in re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL):
        (tmp_path / block.split()[1]).write_text(block)
    return tmp_path


def run(folder: Path, backend: str, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*python_on(backend), *command], cwd=folder, capture_output=True, text=True, timeout=50)


@both_loops
def test_a_child_process_as_a_worker(folder: Path, backend: str) -> None:
    done = run(folder, backend, str(folder / "simple.py"))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == [f"Sent {text} Received {text}{text}" for text in "abc"]


@both_loops
def test_an_answer_that_is_not_the_double_is_noticed(folder: Path, backend: str) -> None:
    child = folder / "simple_child.py"
    child.write_text(child.read_text().replace('data["data"] + data["data"]', 'data["data"]'))
    done = run(folder, backend, str(folder / "simple.py"))
    assert done.returncode == 1
    assert "WorkFailed: 3 of 3 inputs failed" in done.stderr


@needs_image_magick
@both_loops
def test_the_image_processing_queue(folder: Path, backend: str) -> None:
    names = ["rose", "granite", "logo"]
    for name in names:
        subprocess.run(["convert", f"{name}:", str(folder / f"{name}.bmp")], check=True)
    done = run(folder, backend, "images.py", *(f"{name}.bmp" for name in names))
    assert (done.returncode, done.stderr) == (0, "")
    assert all(0 < os.stat(folder / f"{name}.jpg").st_size < os.stat(folder / f"{name}.bmp").st_size for name in names)


@needs_image_magick
@both_loops
def test_an_image_that_cannot_be_converted_is_told_and_the_others_are_converted(folder: Path, backend: str) -> None:
    subprocess.run(["convert", "rose:", str(folder / "rose.bmp")], check=True)
    done = run(folder, backend, "images.py", "none.bmp", "rose.bmp")
    assert done.returncode == 1
    assert "none.bmp could not be converted" in done.stderr
    assert (folder / "rose.jpg").stat().st_size > 0
