"""Run each selected test many times: `pytest -p worker_testkit.repeat --repeat=200 -m stress`.

A race shows itself rarely; a test of one is believed when it has passed two hundred times. Each repetition is a test of
its own, with its own fixtures and its own leak check. The order is once through all tests, then again, so that the
repetitions of one test meet different neighbours in time.
"""

from __future__ import annotations

import pytest

__all__ = ("pytest_addoption", "pytest_generate_tests", "repetition")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--repeat`."""
    parser.getgroup("worker-testkit").addoption("--repeat", type=int, default=1, metavar="N", help="run tests N times")


@pytest.fixture(scope="session")
def repetition(request: pytest.FixtureRequest) -> int:
    """The number of this repetition, from 1."""
    return int(getattr(request, "param", 1))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test one more parameter.

    Tests are generated before `-m` chooses among them. Where it names one mark, the others are left as they are: two
    hundred of each of thousands, made only to be thrown away, are gigabytes.
    """
    count = int(metafunc.config.getoption("--repeat") or 1)
    mark = str(metafunc.config.getoption("markexpr") or "")
    if count > 1 and not (mark.isidentifier() and not metafunc.definition.get_closest_marker(mark)):
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(1, count + 1), indirect=True, scope="session", ids=str)
