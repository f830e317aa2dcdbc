"""The pytest plugin: both event loops, the leak check, and the record of which fault each test proves.

In a project that owns processes:

    [tool.pytest.ini_options]
    leak_check = true                  # every test; or ask for the fixture `no_leaks` where it is wanted
    leak_check_ignore = ["/dev/urandom"]

`@pytest.mark.leaks("why")` exempts one test. `--uvloop` runs the asyncio tests on uvloop too.
"""

from __future__ import annotations

import functools
import os
import tempfile
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from inspect import iscoroutinefunction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from ._leaks import PATIENCE, become_subreaper, check_leaks, private_folder
from ._record import Recorder
from ._tasks import run_without_stray_tasks

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

_private = pytest.StashKey[ExitStack]()
_is_ending = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what can be configured."""
    parser.addini("leak_check", "check every test for what it leaves behind", type="bool", default=False)
    parser.addini("leak_check_ignore", "patterns of lines that the leak check lets be", type="linelist", default=[])
    parser.addini("leak_check_patience", "seconds in which things may still go away", default=str(PATIENCE))
    group = parser.getgroup("worker-testkit")
    group.addoption("--uvloop", action="store_true", help="run tests on uvloop too")
    group.addoption("--fault-record", metavar="FILE", help="append which faults were proven, as JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    """Register markers, the fixture of event loops, and the recorder if it is asked for."""
    config.addinivalue_line("markers", "leaks(reason): this test may leave something behind, for this reason")
    config.addinivalue_line("markers", "fault(row): the row of the fault catalogue that the test proves")
    # Registered this late, its anyio_backend wins over the one of anyio's own plugin.
    config.pluginmanager.register(_both_loops(config), "worker-testkit-loops")
    if path := config.getoption("--fault-record"):
        config.pluginmanager.register(Recorder(Path(path)), "worker-testkit-recorder")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Adopt orphans, and give this session a directory of temporary files that nobody else writes to."""
    become_subreaper()
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # tmp_path can be looked at afterwards
    session.config.stash[_private] = stack = ExitStack()
    stack.enter_context(private_folder())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Undo `pytest_sessionstart`, when all fixtures are gone: those of an interrupted test go in this hook too."""
    session.config.stash[_is_ending] = True
    try:
        yield
    finally:
        become_subreaper(False)
        if _private in session.config.stash:
            session.config.stash[_private].close()


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test with names if it leaves a process, zombie, descriptor, thread or temporary file behind."""
    with _check(request.config):
        yield


@pytest.fixture(autouse=True)
def _leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check every test, where the ini-file says so. First to begin and last to end, being autouse."""
    if not _is_checked(request.node) or "no_leaks" in request.fixturenames:
        yield
        return
    with _check(request.config):
        yield


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Let an async test also answer for the tasks it leaves running: they must be counted inside its loop."""
    test = pyfuncitem.obj
    patience = float(pyfuncitem.config.getini("leak_check_patience"))
    watched = _is_checked(pyfuncitem) or "no_leaks" in pyfuncitem.fixturenames
    if watched and iscoroutinefunction(test) and "anyio_backend" in pyfuncitem.fixturenames:

        @functools.wraps(test)
        async def checked(**arguments: Any) -> None:
            await run_without_stray_tasks(functools.partial(test, **arguments), patience=patience)

        pyfuncitem.obj = checked
        try:
            return (yield)
        finally:
            pyfuncitem.obj = test
    return (yield)


@contextmanager
def _check(config: pytest.Config) -> Generator[None]:
    with ExitStack() as stack:
        patience = float(config.getini("leak_check_patience"))
        stack.enter_context(check_leaks(patience=patience, ignore=config.getini("leak_check_ignore")))
        yield
        if _is_ending in config.stash:  # interrupted: by now pytest itself has opened and closed what it likes
            stack.pop_all()


def _is_checked(item: pytest.Item) -> bool:
    return bool(item.config.getini("leak_check")) and item.get_closest_marker("leaks") is None


def _both_loops(config: pytest.Config) -> ModuleType:
    """Return a plugin of one fixture, whose parameters depend on what is installed and asked for."""
    params = [pytest.param("asyncio", id="asyncio")]
    if config.getoption("--uvloop"):
        params.append(pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"))
    if find_spec("trio") is not None:
        params.append(pytest.param("trio", id="trio"))

    @pytest.fixture(scope="module", params=params)
    def anyio_backend(request: pytest.FixtureRequest) -> Any:
        """The event loop of the test: asyncio, trio if it is installed, uvloop if it is asked for."""
        return request.param

    plugin = ModuleType("worker_testkit_loops")
    plugin.anyio_backend = anyio_backend  # type: ignore[attr-defined]
    return plugin
