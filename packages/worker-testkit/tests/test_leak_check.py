"""The leak check itself: each kind of leak is planted in a pytest run of its own, and must be named."""

import pytest

PASSES = {"passed": 1}
LEAKS = {"passed": 1, "errors": 1}


def run(pytester: pytest.Pytester, test: str, *, check: bool = True) -> pytest.RunResult:
    pytester.makepyprojecttoml(
        f"[tool.pytest.ini_options]\nleak_check = {str(check).lower()}\nleak_check_patience = '0.5'\n"
    )
    pytester.makepyfile(test)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error")


def test_a_clean_test_passes(pytester: pytest.Pytester) -> None:
    run(
        pytester,
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
    ).assert_outcomes(**PASSES)


def test_a_living_child_is_named_killed_and_reaped(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import os, pytest
        def test_it():
            test_it.pid = os.posix_spawn("/bin/sleep", ["sleep", "1001"], os.environ)
        def test_next():
            with pytest.raises(ProcessLookupError):
                os.kill(test_it.pid, 0)
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*LeakError: left behind:", "*process *: sleep 1001"])


def test_an_orphan_is_named(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import subprocess
        def test_it():
            subprocess.run(["sh", "-c", "sleep 1002 & exit 0"], check=True, start_new_session=True)
        """,
    )
    result.assert_outcomes(**LEAKS)
    result.stdout.fnmatch_lines(["*process *: sleep 1002"])


def test_an_orphan_that_has_ended_is_the_business_of_init_not_of_the_test(pytester: pytest.Pytester) -> None:
    run(
        pytester,
        """
        import subprocess
        def test_it():
            subprocess.run(["sh", "-c", "sleep 0.1 & exit 0"], check=True, start_new_session=True)
        def test_next():
            pass
        """,
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize("attributes", ["", "setpgroup=0"])
def test_a_zombie_is_named(pytester: pytest.Pytester, attributes: str) -> None:
    result = run(
        pytester,
        f"""
        import os
        def test_it():
            pid = os.posix_spawn("/bin/true", ["true"], os.environ, {attributes})
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        """,
    )
    result.assert_outcomes(**LEAKS)
    result.stdout.fnmatch_lines(["*zombie *: [[]true[]]"])


def test_a_descriptor_is_named_by_what_it_points_to(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import os
        def test_it():
            test_it.fd = os.open("/etc/hostname", os.O_RDONLY)
        def test_next():
            assert os.readlink(f"/proc/self/fd/{test_it.fd}") == "/dev/null"
            os.close(test_it.fd)
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*descriptor *: /etc/hostname"])


def test_a_descriptor_that_was_replaced_is_noticed(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import os
        fd = os.open("/dev/null", os.O_RDONLY)
        def test_it():
            os.dup2(os.open("/etc/hostname", os.O_RDONLY), fd)
        """,
    )
    result.assert_outcomes(**LEAKS)
    result.stdout.fnmatch_lines(["*descriptor *: /etc/hostname", "*descriptor *: /etc/hostname"])


def test_a_thread_is_named(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import threading
        def test_it():
            threading.Thread(target=threading.Event().wait, name="the forgotten one", daemon=True).start()
        """,
    )
    result.assert_outcomes(**LEAKS)
    result.stdout.fnmatch_lines(["*thread 'the forgotten one'"])


def test_a_temporary_file_is_named_and_removed(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import os, tempfile
        def test_it():
            fd, test_it.path = tempfile.mkstemp(suffix=".forgotten")
            os.close(fd)
        def test_next():
            assert not os.path.exists(test_it.path)
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*temporary file *.forgotten"])


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
def test_a_task_is_named(pytester: pytest.Pytester, anyio_backend: str) -> None:
    spawn = {
        "asyncio": "import asyncio\n            test_it.task = asyncio.create_task(anyio.sleep(99), name='stray')",
        "trio": "import trio\n            trio.lowlevel.spawn_system_task(anyio.sleep, 99, name='stray')",
    }[anyio_backend]
    result = run(
        pytester,
        f"""
        import anyio, pytest
        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", [{anyio_backend!r}])
        async def test_it(anyio_backend):
            {spawn}
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*LeakError: left behind:", "*task 'stray'"])


def test_patience_is_had_with_what_is_about_to_end(pytester: pytest.Pytester) -> None:
    run(
        pytester,
        """
        import os, threading
        def test_it():
            a, b = os.pipe()
            os.close(b)
            threading.Timer(0.2, os.close, [a]).start()
        """,
    ).assert_outcomes(**PASSES)


def test_what_only_the_garbage_collector_would_free_is_no_leak(pytester: pytest.Pytester) -> None:
    run(
        pytester,
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
    ).assert_outcomes(**PASSES)


def test_it_is_off_by_default_and_on_by_fixture(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import os
        def leak():
            os.open("/etc/hostname", os.O_RDONLY)
        def test_unchecked():
            leak()
        def test_checked(no_leaks):
            leak()
        """,
        check=False,
    )
    result.assert_outcomes(passed=2, errors=1)


def test_a_marked_test_is_exempt(pytester: pytest.Pytester) -> None:
    run(
        pytester,
        """
        import os, pytest
        @pytest.mark.leaks("on purpose")
        def test_it():
            os.open("/etc/hostname", os.O_RDONLY)
        """,
    ).assert_outcomes(**PASSES)


def test_patterns_are_let_be(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nleak_check = true\nleak_check_ignore =\n  /etc/hostname\n")
    pytester.makepyfile("import os\ndef test_it():\n    os.open('/etc/hostname', os.O_RDONLY)\n")
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(**PASSES)
