import os
import subprocess

import pytest

from worker_testkit import doomed_parent, state

pytestmark = pytest.mark.usefixtures("no_leaks")

TWO_SLEEPERS = """
    children = [subprocess.Popen(["sleep", "1000"]) for _ in range(2)]
    for child in children:
        report(child.pid)
    sys.stdin.read()
"""


def test_orphans_are_found_alive_and_cleaned_up() -> None:
    with doomed_parent(TWO_SLEEPERS, stdin=subprocess.PIPE) as parent:
        pids = parent.reported(2)
        parent.kill()
        assert parent.gone_within(0.1) == sorted(pids)
    assert [state(pid) for pid in pids] == [None, None]


def test_the_end_of_a_child_is_seen_at_once() -> None:
    with doomed_parent(
        "child = subprocess.Popen(['sleep', '0.2']); report(child.pid); child.wait(); input()"
    ) as parent:
        parent.reported(1)
        assert parent.gone_within(5) == []


def test_arguments_reach_the_scenario() -> None:
    with doomed_parent("report(os.getpid() * int(sys.argv[1] == 'yes')); sys.stdin.read()", "yes", stdin=-1) as parent:
        assert parent.reported(1) == [parent.pid]


def test_a_scenario_that_ends_early_is_an_error() -> None:
    with doomed_parent("sys.exit(3)") as parent, pytest.raises(RuntimeError, match="ended early, with 3"):
        parent.reported(1)


def test_a_scenario_that_does_not_report_is_an_error() -> None:
    with doomed_parent("sys.stdin.read()", stdin=-1) as parent, pytest.raises(TimeoutError, match="only 0 of 1"):
        parent.reported(1, timeout=0.1)


def test_what_it_had_started_and_not_reported_is_reaped_too() -> None:
    """A child in a group of its own, which ends by itself a moment later: here it looks like one of ours."""
    with doomed_parent("subprocess.Popen(['sleep', '0.3'], process_group=0); report(os.getpid()); input()") as parent:
        parent.reported(1)
        parent.kill()


def test_a_parent_that_cannot_be_started_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError), doomed_parent("", cwd="/no/such/folder"):
        raise AssertionError("not reached")
    assert os.listdir("/proc/self/fd") == before
