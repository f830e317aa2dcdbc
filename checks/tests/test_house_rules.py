"""Each house rule, broken on purpose, is caught; a house in order is left alone."""

from pathlib import Path

import pytest

from house_rules import MAX_FILE, MAX_FUNCTION, problems

PUBLIC = '''"""A package."""

from ._things import Thing as Thing
from ._things import make as make

__all__ = ["Thing", "make"]
'''

PRIVATE = '''"""Things."""

class Thing:
    """One thing."""

    def act(self):
        """Do it."""

    def _inner(self):
        pass

def make():
    """Make one."""

def helper():
    pass
'''


@pytest.fixture
def house(tmp_path: Path) -> Path:
    package = tmp_path / "packages/worker-thing/src/worker_thing"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PUBLIC)
    (package / "_things.py").write_text(PRIVATE)
    (tmp_path / "pyproject.toml").write_text("[tool.house-rules.longer]\n")
    return tmp_path


def change(house: Path, file: str, old: str, new: str) -> None:
    path = house / "packages/worker-thing/src/worker_thing" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_house_in_order_has_no_problems(house: Path) -> None:
    assert problems(house) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("_things.py", '"""One thing."""', "x = 1", "Thing has no docstring"),
        ("_things.py", '"""Do it."""', "pass", "Thing.act has no docstring"),
        ("_things.py", '"""Make one."""', "pass", "make has no docstring"),
        ("__init__.py", '["Thing", "make"]', '["Thing"]', "make is public, but does not stand in __all__"),
        ("__init__.py", '"make"]', '"make", "gone"]', "gone stands in __all__, but is neither"),
        ("__init__.py", "make as make", "make", "make stands in __all__, but is neither"),
        ("__init__.py", '__all__ = ["Thing", "make"]', "", "a public module has an __all__"),
        ("__init__.py", "__all__ = [", "LIMIT = 1\n\n__all__ = ['LIMIT', ", "LIMIT has neither a comment nor"),
    ],
)
def test_a_broken_promise_is_named(house: Path, file: str, old: str, new: str, complaint: str) -> None:
    change(house, file, old, new)
    (problem,) = problems(house)
    assert complaint in problem


def test_what_is_lazily_exported_is_checked_too(house: Path) -> None:
    lazy = "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from ._things import make as make\n"
    change(house, "__init__.py", "from ._things import make as make\n", lazy)
    assert problems(house) == []
    change(house, "_things.py", '"""Make one."""', "pass")
    assert problems(house) == ["worker_thing/_things.py: make has no docstring"]


def test_a_file_that_is_too_long_is_named(house: Path) -> None:
    change(house, "_things.py", "def helper", "\n" * MAX_FILE + "def helper")
    (problem,) = problems(house)
    assert f"the limit is {MAX_FILE}" in problem


def test_a_function_that_is_too_long_is_named(house: Path) -> None:
    change(house, "_things.py", "def helper():\n", "def helper():\n" + "    x = 1\n" * MAX_FUNCTION)
    (problem,) = problems(house)
    assert "_things.py:helper" in problem
    assert f"the limit is {MAX_FUNCTION}" in problem


LONG = '"packages/worker-thing/src/worker_thing/_things.py" = '


def test_a_listed_reason_excuses_the_length(house: Path) -> None:
    change(house, "_things.py", "def helper", "\n" * MAX_FILE + "def helper")
    with (house / "pyproject.toml").open("a") as config:
        config.write(LONG + '"a table of states, which is read as one"\n')
    assert problems(house) == []


def test_a_listing_without_a_reason_is_named(house: Path) -> None:
    change(house, "_things.py", "def helper", "\n" * MAX_FILE + "def helper")
    with (house / "pyproject.toml").open("a") as config:
        config.write(LONG + '"legacy"\n')
    (problem,) = problems(house)
    assert "without a real reason" in problem


def test_a_listing_that_outlived_its_cause_is_named(house: Path) -> None:
    with (house / "pyproject.toml").open("a") as config:
        config.write(LONG + '"a table of states, which is read as one"\n')
    (problem,) = problems(house)
    assert "not too long (any more)" in problem


def test_a_pattern_excuses_up_to_a_limit(house: Path) -> None:
    with (house / "pyproject.toml").open("a") as config:
        config.write('"packages/*/src/*.py" = "a table of states, which is read as one"\n')
    change(house, "_things.py", "def helper", "\n" * MAX_FILE + "def helper")
    assert problems(house) == []
    change(house, "_things.py", "def helper", "\n" * MAX_FILE + "def helper")
    assert any(f"the limit is {MAX_FILE}" in problem for problem in problems(house))
