"""The leak check itself: each kind of leak is planted in a file of an inner run of pytest, and must be named.

There are two such runs. What leaks is let wait for next to nothing, and what does not leak may take its time: then
neither is slow, nor does the one depend on how busy the machine is.
"""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from worker_testkit import _leaks
from worker_testkit._leaks import LeakError, Snapshot, check_leaks

Test = TypeVar("Test", bound=Callable[..., None])

PASSES = {"passed": 1}
LEAKS = {"passed": 1, "errors": 1}
IGNORED = "/etc/passwd"

leaking: dict[str, str] = {}
clean: dict[str, str] = {}


def plant(files: dict[str, str], text: str) -> Callable[[Test], Test]:
    """Have the file run before the test, which is told about it by the fixture `told`."""

    def planted(test: Test) -> Test:
        files[test.__name__] = text
        return test

    return planted


@pytest.fixture(scope="module")
def runs(run_pytest: Any) -> Any:
    ini = f"leak_check = true\nleak_check_ignore = {IGNORED}\nleak_check_patience = "
    return run_pytest(leaking, ini=ini + "0.1").about | run_pytest(clean, ini=ini + "20").about


@pytest.fixture
def told(runs: Any, request: pytest.FixtureRequest) -> Any:
    return runs[request.function.__name__]


@plant(
    clean,
    """
    import subprocess, tempfile, threading, os
    def test_it():
        subprocess.run(["true"], check=True)
        with tempfile.NamedTemporaryFile():
            thread = threading.Thread(target=print)
            thread.start()
            thread.join()
        a, b = os.pipe()
        os.close(a)
        os.close(b)
    """,
)
def test_a_clean_test_passes(told: Any) -> None:
    assert told.outcomes == PASSES


@plant(
    leaking,
    """
    import os, pytest
    def test_it():
        test_it.pid = os.posix_spawn("/bin/sleep", ["sleep", "1001"], os.environ)
    def test_next():
        with pytest.raises(ProcessLookupError):
            os.kill(test_it.pid, 0)
    """,
)
def test_a_living_child_is_named_killed_and_reaped(told: Any) -> None:
    assert told.outcomes == {"passed": 2, "errors": 1}
    assert re.search(r"LeakError: left behind:\nE +process \d+: sleep 1001$", told.text, re.MULTILINE)


@plant(
    leaking,
    """
    import subprocess
    def test_it():
        subprocess.run(["sh", "-c", "sleep 1002 & exit 0"], check=True, start_new_session=True)
    """,
)
def test_an_orphan_is_named(told: Any) -> None:
    assert told.outcomes == LEAKS
    assert re.search(r"process \d+: sleep 1002$", told.text, re.MULTILINE)


@plant(
    clean,
    """
    import subprocess
    def test_it():
        subprocess.run(["sh", "-c", "sleep 0.1 & exit 0"], check=True, start_new_session=True)
    def test_next():
        pass
    """,
)
def test_an_orphan_that_has_ended_is_the_business_of_init_not_of_the_test(told: Any) -> None:
    assert told.outcomes == {"passed": 2}


@plant(
    leaking,
    """
    import os, pytest
    @pytest.mark.parametrize("attributes", [{}, {"setpgroup": 0}])
    def test_it(attributes):
        pid = os.posix_spawn("/bin/true", ["true"], os.environ, **attributes)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    """,
)
def test_a_zombie_is_named(told: Any) -> None:
    assert told.outcomes == {"passed": 2, "errors": 2}
    assert len(re.findall(r"zombie \d+: \[true\]$", told.text, re.MULTILINE)) == 2


@plant(
    leaking,
    """
    import os
    def test_it():
        test_it.fd = os.open("/etc/hostname", os.O_RDONLY)
    def test_next():
        assert os.readlink(f"/proc/self/fd/{test_it.fd}") == "/dev/null"
        os.close(test_it.fd)
    """,
)
def test_a_descriptor_is_named_by_what_it_points_to(told: Any) -> None:
    assert told.outcomes == {"passed": 2, "errors": 1}
    assert re.search(r"descriptor \d+: /etc/hostname$", told.text, re.MULTILINE)


@plant(
    leaking,
    """
    import os
    fd = os.open("/dev/null", os.O_RDONLY)
    def test_it():
        os.dup2(os.open("/etc/hostname", os.O_RDONLY), fd)
    """,
)
def test_a_descriptor_that_was_replaced_is_noticed(told: Any) -> None:
    assert told.outcomes == LEAKS
    assert len(re.findall(r"descriptor \d+: /etc/hostname$", told.text, re.MULTILINE)) == 2


@plant(
    leaking,
    """
    import threading
    def test_it():
        threading.Thread(target=threading.Event().wait, name="the forgotten one", daemon=True).start()
    """,
)
def test_a_thread_is_named(told: Any) -> None:
    assert told.outcomes == LEAKS
    assert "thread 'the forgotten one'" in told.text


@plant(
    leaking,
    """
    import os, tempfile
    def test_it():
        fd, test_it.path = tempfile.mkstemp(suffix=".forgotten")
        os.close(fd)
    def test_next():
        assert not os.path.exists(test_it.path)
    """,
)
def test_a_temporary_file_is_named_and_removed(told: Any) -> None:
    assert told.outcomes == {"passed": 2, "errors": 1}
    assert re.search(r"temporary file /\S+\.forgotten$", told.text, re.MULTILINE)


def test_files_of_others_are_neither_blamed_nor_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found as the loss of all that was in /tmp, when a run of tests was interrupted."""
    monkeypatch.setattr(_leaks, "_private_folders", [])  # as outside pytest
    monkeypatch.setattr(_leaks.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with check_leaks(patience=0.1):
        (tmp_path / "of somebody else").touch()
        monkeypatch.setattr(_leaks.tempfile, "tempdir", None)  # what was looked at before is looked at again
    assert [path.name for path in tmp_path.iterdir()] == ["of somebody else"]
    with pytest.raises(LeakError, match=r"temporary file \S+ours$"), check_leaks(patience=0.1):
        Path(os.environ["TMPDIR"], "ours").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["of somebody else"]


def test_a_run_that_is_interrupted_removes_nothing_of_others(
    run_pytest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest tears the fixtures down after the session was finished, then."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "precious").mkdir()
    run_pytest({"test_it": "def test_a(): pass\ndef test_b(no_leaks): raise KeyboardInterrupt\n"})
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@plant(
    leaking,
    """
    import anyio, asyncio, pytest, trio
    pytestmark = pytest.mark.anyio
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_asyncio(anyio_backend):
        test_asyncio.task = asyncio.create_task(anyio.sleep(99), name="stray of asyncio")
    @pytest.mark.parametrize("anyio_backend", ["trio"])
    async def test_trio(anyio_backend):
        trio.lowlevel.spawn_system_task(anyio.sleep, 99, name="stray of trio")
    """,
)
def test_a_task_is_named(told: Any) -> None:
    assert told.outcomes == {"failed": 2}
    for loop in ("asyncio", "trio"):
        assert re.search(rf"LeakError: left behind:\nE +task 'stray of {loop}'$", told.text, re.MULTILINE)


@plant(
    clean,
    """
    import os, threading
    def test_it():
        a, b = os.pipe()
        os.close(b)
        threading.Timer(0.2, os.close, [a]).start()
    """,
)
def test_patience_is_had_with_what_is_about_to_end(told: Any) -> None:
    assert told.outcomes == PASSES


def test_the_time_of_a_slow_collection_is_not_taken_from_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def collect() -> None:
        now[0] += 100

    def sleep(seconds: float) -> None:
        now[0] += 100  # much longer than it was asked to: the machine is busy
        while ends:
            os.close(ends.pop())

    before = Snapshot.take()
    ends = [*os.pipe()]
    monkeypatch.setattr(_leaks, "gc", SimpleNamespace(collect=collect))
    monkeypatch.setattr(_leaks, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    assert not before.wait_for_nothing(2.0)


@plant(
    clean,
    """
    import os
    class Owner:
        def __init__(self):
            self.fd, self.me = os.open("/etc/hostname", os.O_RDONLY), self
        def __del__(self):
            os.close(self.fd)
    def test_it():
        Owner()
    """,
)
def test_what_only_the_garbage_collector_would_free_is_no_leak(told: Any) -> None:
    assert told.outcomes == PASSES


@plant(
    leaking,
    """
    import os, pytest
    @pytest.mark.leaks("on purpose")
    def test_it():
        os.open("/etc/hostname", os.O_RDONLY)
    """,
)
def test_a_marked_test_is_exempt(told: Any) -> None:
    assert told.outcomes == PASSES


@plant(leaking, f"import os\ndef test_it():\n    os.open({IGNORED!r}, os.O_RDONLY)\n")
def test_patterns_are_let_be(told: Any) -> None:
    assert told.outcomes == PASSES


def test_it_is_off_by_default_and_on_by_fixture(run_pytest: Any) -> None:
    off = "import os\ndef test_it():\n    os.open('/etc/hostname', os.O_RDONLY)\n"
    files = {"test_off": off, "test_on": off.replace("test_it()", "test_it(no_leaks)")}
    about = run_pytest(files, ini="leak_check_patience = 0.1").about
    assert about["test_off"].outcomes == PASSES
    assert about["test_on"].outcomes == LEAKS


def test_its_error_survives_a_copy() -> None:
    error = _leaks.LeakError(["process 7: sleep", "thread 't'"])
    again = pickle.loads(pickle.dumps(error))
    assert (
        (str(again), again.leaked)
        == (str(error), error.leaked)
        == (
            "left behind:\n  process 7: sleep\n  thread 't'",
            ("process 7: sleep", "thread 't'"),
        )
    )
