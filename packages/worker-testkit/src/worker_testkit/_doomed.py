"""A parent that the test may kill: what becomes of its children then?

    with doomed_parent('''
        with subprocess.Popen(["sleep", "1000"]) as child:
            report(child.pid)
    ''') as parent:
        [pid] = parent.reported(1)
        parent.kill()
        assert parent.gone_within(1) == []        # the pids that still live

The scenario is the text of a program in which `report(*pids)` exists. The watching is by pidfd: no pid is ever
mistaken for another's, no state is polled.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ._leaks import become_subreaper
from ._procfs import children

if TYPE_CHECKING:
    from collections.abc import Generator

PRELUDE = """
import os, sys, subprocess
def report(*pids, _to=int(sys.argv.pop(1))):
    os.write(_to, "".join(f"{pid}\\n" for pid in pids).encode())
"""


class DoomedParent:
    """A process that runs a scenario, and the processes it reported. Made by `doomed_parent`."""

    def __init__(self, process: subprocess.Popen[bytes], reports: int) -> None:
        self.process = process
        self._reports = reports
        self._pids: list[int] = []
        self._watched: dict[int, int] = {}
        self._before = set(children())

    @property
    def pid(self) -> int:
        """The parent's own pid."""
        return self.process.pid

    def reported(self, count: int, timeout: float = 20) -> list[int]:
        """Wait until `count` pids in all have been reported, and watch them from now on."""
        deadline = time.monotonic() + timeout
        while len(self._pids) < count:
            if not select.select([self._reports], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"only {len(self._pids)} of {count} processes were reported in {timeout} s")
            text = os.read(self._reports, 65536)
            if not text:
                raise RuntimeError(f"the scenario ended early, with {self.process.wait(timeout)}")
            for pid in map(int, text.split()):
                self._pids.append(pid)
                with suppress(ProcessLookupError):
                    self._watched[pid] = os.pidfd_open(pid)
        return list(self._pids)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal the parent; after SIGKILL also wait for it."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def gone_within(self, seconds: float) -> list[int]:
        """Wait until all reported processes have ended; return those that still live after `seconds`."""
        deadline = time.monotonic() + seconds
        living = dict(self._watched)
        while living:
            ended = select.select(list(living.values()), [], [], max(0, deadline - time.monotonic()))[0]
            if not ended:
                break
            for pid in [pid for pid, fd in living.items() if fd in ended]:
                del living[pid]
        return sorted(living)

    def close(self) -> None:
        """Kill and reap everything that is left."""
        with self.process as process:  # closes its pipes, and waits
            process.kill()
        for pid, fd in self._watched.items():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            select.select([fd], [], [])
            with suppress(ChildProcessError):  # an orphan of ours: see become_subreaper
                os.waitpid(pid, 0)
            os.close(fd)
        os.close(self._reports)
        self._reap_orphans()

    def _reap_orphans(self) -> None:
        """Reap what the parent had started, and not reported, and this process has inherited: nobody else does.

        What does not end within a second is left for whoever looks for leaks.
        """
        deadline = time.monotonic() + 1
        for pid, _ in children().keys() - self._before:
            with suppress(ProcessLookupError, ChildProcessError):
                fd = os.pidfd_open(pid)
                has_ended = select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]
                os.close(fd)
                if has_ended:
                    os.waitpid(pid, 0)


@contextmanager
def doomed_parent(scenario: str, *arguments: str, **options: object) -> Generator[DoomedParent, None, None]:
    """Run `scenario` in a new interpreter with `arguments` as sys.argv[1:]. Linux only.

    `options` go to `subprocess.Popen`. On the way out the parent and all that it reported are killed and reaped.
    """
    become_subreaper()
    reports, to_parent = os.pipe()
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(scenario), str(to_parent), *arguments]
    try:
        process = subprocess.Popen(command, pass_fds=[to_parent], **options)  # type: ignore[call-overload]
    except BaseException:  # there is no parent that would close it
        os.close(reports)
        raise
    finally:
        os.close(to_parent)
    parent = DoomedParent(process, reports)
    try:
        yield parent
    finally:
        parent.close()
