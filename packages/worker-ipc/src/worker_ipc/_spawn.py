"""The fork and all that can go wrong around it: a child is started with exactly what it should have, or not at all.

The child gets descriptors 0, 1, 2, the channel, and on Linux the lifeline (`_orphans`); a session and process group of
its own, so that a terminal's Ctrl-C reaches only the parent, and so that one signal ends all that it started.

`subprocess.Popen` does the fork (vfork: about 0.35 ms, whatever the size of the parent) and is then let go: the status
is collected through our own handle. No `preexec_fn`, ever: it costs 13 ms in a parent of 300 MB, it can deadlock, and
duplicating a descriptor in it overwrites the pipe over which Popen reports a missing command.

The channel gets the lowest number that is free here, not a fixed 3: a fixed one would have to be taken from whoever
has it in this process. Any number works in every runtime. Node hides inherited numbers up to 15 from *its* children;
a parent with more descriptors than that lets a Node child's children see the channel. They can't delay anything
(deaths are seen by the process handle) and they are killed with the group.
"""

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from worker_ipc import _orphans
from worker_ipc._descriptors import Owned, is_standard, make_pipe, make_socketpair
from worker_ipc._errors import SpawnError
from worker_ipc._handle import Handle, open_handle

__all__ = ("ParentEnds", "Stderr", "Stdio", "spawn")


_SCRIPTS = (".py", ".js", ".mjs", ".cjs")


class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Return its descriptor."""
        ...


Stdio: TypeAlias = Literal["inherit", "devnull"] | int | HasFileno
"""Where a standard stream of the child goes: this process's own, nowhere, or an open file or descriptor."""

Stderr: TypeAlias = Literal["forward", "capture"] | Stdio
"""``"forward"`` keeps the tail and passes everything on to this process's stderr; ``"capture"`` only keeps the tail."""


@dataclass(slots=True)
class ParentEnds:
    """What the parent holds of a child. `close` is safe at any time and any number of times."""

    fd_in: Owned | None = None
    fd_out: Owned | None = None
    stderr: Owned | None = None
    lifeline: Owned | None = None

    def all(self) -> list[Owned]:
        """Return those that exist."""
        ends = (self.fd_in, self.fd_out, self.stderr, self.lifeline)
        return [end for end in ends if end is not None]

    def close(self) -> None:
        """Close what is still ours. The lifeline goes last: whatever is left of the child's group dies with it."""
        for end in self.all():
            end.close()


@dataclass(slots=True)
class _ChildEnds:
    """What the child will hold beside its inherited streams: numbers in this process, closed here after the spawn."""

    channel: Owned | None = None
    lifeline: Owned | None = None
    stdin: Owned | None = None
    stdout: Owned | None = None
    stderr: Owned | None = None

    def close(self) -> None:
        for end in (self.channel, self.lifeline, self.stdin, self.stdout, self.stderr):
            if end is not None:
                end.close()


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """A child as it was asked for. `environment` is called with the channel's number in the child, or None."""

    command: tuple[str, ...]
    channel: bool
    stdio: bool
    cwd: str | None
    environment: Callable[[int | None], Mapping[str, str]]
    stdin: Stdio
    stdout: Stdio
    stderr: Stderr


def spawn(request: SpawnRequest) -> tuple[Handle, ParentEnds]:
    """Start the child. Blocks for about 0.4 ms.

    Raises `SpawnError` if it can't be started or can't be watched; then nothing is left: no process, no descriptor.
    """
    ours, theirs = ParentEnds(), _ChildEnds()
    try:
        _open_ends(request, ours, theirs)
        return _start(request, theirs), ours
    except OSError as error:
        ours.close()
        raise _told(request.command, error) from error
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


def _told(command: tuple[str, ...], error: OSError) -> SpawnError:
    told = SpawnError(command, error)
    if command[0].endswith(_SCRIPTS) and error.errno in (errno.ENOENT, errno.EACCES, errno.ENOEXEC):
        told.add_note("a script is an argument of its interpreter: [sys.executable, 'my.py'], ['node', 'my.js']")
    return told


def _open_ends(request: SpawnRequest, ours: ParentEnds, theirs: _ChildEnds) -> None:
    """Open in the order of need: the numbers that the child will see come first, and so are the lowest."""
    if request.channel:
        theirs.channel, ours.fd_in = make_socketpair()
        ours.fd_out = ours.fd_in
    if _orphans.SUPPORTED:
        theirs.lifeline, ours.lifeline = make_pipe()
    if request.stdio:
        theirs.stdin, ours.fd_out = make_pipe()
        ours.fd_in, theirs.stdout = make_pipe()
    if request.stderr in ("forward", "capture"):
        ours.stderr, theirs.stderr = make_pipe()
    for end in (ours.fd_in, ours.fd_out, ours.stderr):
        if end is not None:
            os.set_blocking(end.number, False)  # each end has its own flag: the child's stays blocking


class _Fork(subprocess.Popen[bytes]):
    """A Popen that can be asked, before and after it failed, whether there is a process."""

    pid = 0
    returncode: int | None = None


def _start(request: SpawnRequest, theirs: _ChildEnds) -> Handle:
    channel_fd = theirs.channel.number if theirs.channel is not None else None
    passed = [end.number for end in (theirs.channel, theirs.lifeline) if end is not None]
    # Made before it is initialised, so that an exception out of nowhere (Ctrl-C) still finds the pid.
    popen = _Fork.__new__(_Fork)
    try:
        _Fork.__init__(
            popen,
            request.command,
            stdin=_stream(0, theirs.stdin, request.stdin),
            stdout=_stream(1, theirs.stdout, request.stdout),
            stderr=_stream(2, theirs.stderr, request.stderr),
            cwd=request.cwd,
            env=request.environment(channel_fd),
            pass_fds=passed,
            start_new_session=True,
        )
        if theirs.lifeline is not None:
            _orphans.arm(theirs.lifeline.number, popen.pid)
        handle = open_handle(popen.pid)
    except BaseException:
        _undo(popen)
        raise
    popen.returncode = 0  # it is ours to reap: Popen must neither wait for it nor warn that nobody did
    return handle


def _stream(number: int, pipe: Owned | None, wish: Stderr) -> int | None:
    """Translate one standard stream for Popen, where None means to inherit."""
    if pipe is not None:
        return pipe.number
    if wish == "devnull":
        return subprocess.DEVNULL
    if wish == "inherit":
        # Where ours is missing the child gets a null device, or the next file it opens would become its stdout.
        return None if is_standard(number) else subprocess.DEVNULL
    fd = wish if isinstance(wish, int) else wish.fileno() if not isinstance(wish, str) else -1
    if fd < 0:
        name = "stderr" if number == 2 else "a standard stream"
        more = "'forward', 'capture', " if number == 2 else ""
        raise ValueError(f"{name} must be {more}'inherit', 'devnull' or an open file, got {wish!r}")
    return fd


def _undo(popen: _Fork) -> None:
    """Kill and reap a child that may have been started before something failed."""
    if not popen.pid or popen.returncode is not None:
        return  # there was no fork, or Popen itself reported the failure of the exec and reaped
    with suppress(OSError):
        os.killpg(popen.pid, signal.SIGKILL)  # its own group, once it came as far as setsid
    popen.kill()
    with suppress(subprocess.TimeoutExpired):
        popen.wait(1.0)  # a killed process needs a millisecond; this is a limit for the disk-bound one, no more


def check_command(command: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Return the command as strings. A string in place of a sequence is the commonest mistake, so it is named."""
    if isinstance(command, (str, bytes)):
        raise TypeError(f"command must be a sequence of strings, such as [sys.executable, 'child.py'], got {command!r}")
    words = tuple(os.fspath(word) for word in command)
    if not words:
        raise ValueError("command must name a program, got an empty sequence")
    return words
