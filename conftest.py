"""Tests that need another program say so: `@pytest.mark.node`, `@pytest.mark.needs("bc")`.

Without the program they are skipped, and the summary names it. Node is different under CI=true: much of what this
project promises is about children in other languages, so there its absence is an error.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator

import pytest

# Debian puts chess engines into /usr/games, which is not on every PATH.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/games"])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the test, or fail it, if a program that it needs is missing."""
    programs = [program for marker in item.iter_markers("needs") for program in marker.args]
    if item.get_closest_marker("node"):
        programs.append("node")
    for program in programs:
        if shutil.which(program, path=PATH) is None:
            if program == "node" and os.environ.get("CI") == "true":
                pytest.fail("needs Node.js, which must be there when CI=true", pytrace=False)
            pytest.skip(f"needs {program}")


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """A shell ignores SIGINT for what it starts in the background, and children inherit that: here it is as usual."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Another one in each repetition (`--repeat`), the same one whenever that is repeated."""
    return _repetition(request) or 1


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """How often a test repeats itself within: as often as it says, or a fifth of that if `--repeat` repeats it too."""
    return (lambda count: max(1, count // 5)) if _repetition(request) else (lambda count: count)


def _repetition(request: pytest.FixtureRequest) -> int | None:
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    return parameters.get("repetition")
