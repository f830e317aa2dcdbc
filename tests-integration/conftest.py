"""`--whole-matrix`: the whole product of a test's parameters, instead of the selection that the test itself names.

A test with many parameters says which of their combinations the default run takes:
`@pytest.mark.covering(chosen=...)` with a function of the parameters that it decides by.
"""

import inspect
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests import what stands beside this file (`python_on`)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--whole-matrix", action="store_true", help="every combination of faults, moments, sizes and loops"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "covering(chosen): which combinations are enough without --whole-matrix")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--whole-matrix"):
        return
    left_out = [item for item in items if not _is_chosen(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if _is_chosen(item)]


def _is_chosen(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("covering")
    if mark is None:
        return True
    chosen = mark.kwargs["chosen"]
    return chosen(**{name: item.callspec.params[name] for name in inspect.signature(chosen).parameters})
