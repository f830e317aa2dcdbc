"""Notice what a piece of code leaves behind: processes, zombies, descriptors, threads, temporary files.

    with check_leaks():
        ...                     # LeakError names what is still there two seconds later

Orphans are seen too: on Linux this process becomes a *child subreaper*, so whatever a dead child leaves running
becomes a child of ours. Tasks of an event loop need the loop: see `_tasks.py`.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._procfs import Child, children, descriptors

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

PATIENCE = 2.0  # seconds in which threads may end, peers may hang up and the kernel may close what they held
PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


class LeakError(AssertionError):
    """Something outlived the code that made it. `leaked` has one line for each."""

    __module__ = "worker_testkit"  # a traceback names it as it is imported

    leaked: tuple[str, ...]

    def __init__(self, leaked: Sequence[str]) -> None:
        super().__init__(leaked)
        self.leaked = tuple(leaked)

    def __str__(self) -> str:
        return "left behind:" + "".join(f"\n  {line}" for line in self.leaked)


@contextmanager
def check_leaks(*, patience: float = PATIENCE, ignore: Sequence[str] = ()) -> Generator[None, None, None]:
    """Raise LeakError if the block leaves something behind that is still there `patience` seconds later.

    `ignore`: regular expressions searched in the lines of the report; what they match is let be. What leaked is
    cleaned up as far as that is safe, so that whoever comes next is not blamed for it: processes are killed and
    reaped, descriptors are pointed at /dev/null, files are removed. An error of the block itself leaves first.

    Temporary files of the block, and of its children, are made in a directory that nobody else has.
    """
    become_subreaper()
    with private_folder() as folder:
        before = Snapshot.take(folder)
        yield
        leftovers = before.wait_for_nothing(patience, [re.compile(pattern) for pattern in ignore])
        if leftovers:
            lines = leftovers.lines()
            leftovers.clean_up()
            raise LeakError(lines)


_private_folders: list[str] = []


@contextmanager
def private_folder() -> Generator[str, None, None]:
    """Make temporary files, here and in children, in a directory of our own; the one that is there if there is one.

    What appears in a directory that others use may be theirs: to name it would be wrong, and to remove it a disaster.
    """
    if _private_folders:
        yield _private_folders[-1]
        return
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    folder = tempfile.mkdtemp(prefix="leaks-")
    _private_folders.append(folder)
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    try:
        yield folder
    finally:
        _private_folders.remove(folder)
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]
        shutil.rmtree(folder, ignore_errors=True)


def become_subreaper(on: bool = True) -> bool:
    """Adopt the orphans of our children from now on (or, with False, no longer). False where the system can't."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0) == 0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What this process owned at one moment."""

    children: dict[tuple[int, str], Child]
    descriptors: dict[int, str]
    threads: frozenset[threading.Thread]
    files: frozenset[Path]
    folder: str | None  # where temporary files are looked for: a `private_folder`, or nowhere

    @classmethod
    def take(cls, folder: str | None = None) -> Snapshot:
        """Look now."""
        return cls(children(), descriptors(), _threads(), _files(folder), folder)

    def since(self) -> Snapshot:
        """Return what is there now and was not there then. Corpses that are nobody's fault are reaped on the way."""
        now = Snapshot.take(self.folder)
        new = {key: child for key, child in now.children.items() if key not in self.children}
        return Snapshot(
            {key: child for key, child in new.items() if not _reaped_for_a_dead_parent(child)},
            {fd: target for fd, target in now.descriptors.items() if self.descriptors.get(fd) != target},
            now.threads - self.threads,
            now.files - self.files,
            self.folder,
        )

    def wait_for_nothing(self, patience: float, ignore: Sequence[re.Pattern[str]] = ()) -> Snapshot:
        """Poll until nothing new is left, at most `patience` seconds; return what still is."""
        left = self.since().without(ignore)
        if left:
            gc.collect()  # only now: a full collection is dear, and most code leaves nothing
        deadline = time.monotonic() + patience  # what we take ourselves, on a busy machine, is not theirs
        in_time = True
        while left and in_time:
            time.sleep(0.01)
            in_time = time.monotonic() < deadline
            left = self.since().without(ignore)  # also once after the deadline: a sleep may last as long as that
        return left

    def without(self, ignore: Sequence[re.Pattern[str]]) -> Snapshot:
        """Return a copy that lacks what any of the patterns matches."""
        if not ignore:
            return self

        def kept(line: str) -> bool:
            return not any(pattern.search(line) for pattern in ignore)

        return Snapshot(
            {key: child for key, child in self.children.items() if kept(str(child))},
            {fd: target for fd, target in self.descriptors.items() if kept(_descriptor_line(fd, target))},
            frozenset(thread for thread in self.threads if kept(_thread_line(thread))),
            frozenset(file for file in self.files if kept(_file_line(file))),
            self.folder,
        )

    def __bool__(self) -> bool:
        return bool(self.children or self.descriptors or self.threads or self.files)

    def lines(self) -> list[str]:
        """Name everything, one line each."""
        return [
            *(str(child) for child in self.children.values()),
            *(_descriptor_line(fd, target) for fd, target in sorted(self.descriptors.items())),
            *sorted(_thread_line(thread) for thread in self.threads),
            *(_file_line(file) for file in sorted(self.files)),
        ]

    def clean_up(self) -> None:
        """Remove what can be removed without breaking its owner. A thread can't be."""
        for child in self.children.values():
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
        for fd in self.descriptors:
            _neutralise(fd)
        for path in self.files:
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _reaped_for_a_dead_parent(child: Child) -> bool:
    """Reap a process that outlived its parent and then ended: without a subreaper that is the work of init.

    Such a corpse belongs to the process group of somebody else. One that this process started itself is in our
    group or leads its own, and not to have reaped it is a leak.
    """
    if not child.is_zombie or child.group in (child.pid, os.getpgrp()):
        return False
    with suppress(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)
    return True


def _neutralise(fd: int) -> None:
    """Let go of what a descriptor holds but keep its number taken: its owner may still close it, once."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, fd, inheritable=False)
        os.close(null)


def _threads() -> frozenset[threading.Thread]:
    return frozenset(thread for thread in threading.enumerate() if not _is_cached_by_trio(thread))


def _is_cached_by_trio(thread: threading.Thread) -> bool:
    """Trio keeps idle threads for ten seconds, under this name; one at work bears the name of its work."""
    return thread.daemon and re.fullmatch(r"Trio thread \d+", thread.name) is not None


def _files(folder: str | None) -> frozenset[Path]:
    try:
        return frozenset(Path(folder).iterdir()) if folder is not None else frozenset()
    except OSError:
        return frozenset()


def _descriptor_line(fd: int, target: str) -> str:
    return f"descriptor {fd}: {target}"


def _thread_line(thread: threading.Thread) -> str:
    return f"thread {thread.name!r}"


def _file_line(file: Path) -> str:
    return f"temporary file {file}"
