"""What a child process adds to the errors of a channel: it can die, and then the error says how.

    WorkerDied         the child was gone before the conversation was over; names pid, signal, phase, stderr
    FunctionError      the function of a `function_worker` raised; carries type, message and traceback as text

A child that breaks the wire raises `worker_ipc.ProtocolError`, a command that can't be started
`worker_ipc.SpawnError`, a request that its peer refused `worker_ipc.RemoteError`: those are named by their own package.
"""

from __future__ import annotations

import signal as _signals
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from worker_ipc import ChannelClosed

Phase: TypeAlias = Literal["init", "execute", "release", "destroy"]

_STDERR_SHOWN = (
    2000  # characters in the error's text: a traceback fits, a flood does not; `stderr` has all that was kept
)


class WorkerDied(Exception):
    """The child process of a worker ended while it was needed.

    In `phase` ``"execute"`` it costs the one input that was executing, and may have had any part of its effect: it
    is not run again unless you ask for that (`worker_pool.Retry`). If `not_started` is True, the child has certainly
    not begun the input, and a pool runs it on another worker. `returncode` is that of `subprocess` (negative: killed
    by `signal`), None if somebody else took the status; `stderr` is the tail of what the child wrote there.
    """

    command: str
    pid: int | None
    returncode: int | None
    signal: int | None
    phase: Phase
    stderr: str
    not_started: bool

    def __init__(
        self,
        command: str,
        *,
        phase: Phase,
        pid: int | None = None,
        returncode: int | None = None,
        stderr: str = "",
        not_started: bool = False,
    ) -> None:
        super().__init__(command, phase, pid, returncode)
        self.command = command
        self.phase = phase
        self.pid = pid
        self.returncode = returncode
        self.signal = -returncode if returncode is not None and returncode < 0 else None
        self.stderr = stderr
        self.not_started = not_started

    @classmethod
    def from_closed(cls, command: str, phase: Phase, closed: ChannelClosed, *, not_started: bool = False) -> WorkerDied:
        """Build one from the evidence that the channel collected."""
        return cls(
            command,
            phase=phase,
            pid=closed.pid,
            returncode=closed.returncode,
            stderr=closed.stderr,
            not_started=not_started,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__.copy())

    def __str__(self) -> str:
        when = "before it began its input" if self.not_started else f"during {self.phase}"
        text = f"worker {self.command} (pid {self.pid}) {self._fate()} {when}"
        tail = self.stderr[-_STDERR_SHOWN:].strip()
        return f"{text}; its stderr ends with:\n{tail}" if tail else text

    def _fate(self) -> str:
        if self.signal is not None:
            try:
                return f"was killed by {_signals.Signals(self.signal).name}"
            except ValueError:  # a real-time signal has no name
                return f"was killed by signal {self.signal}"
        if self.returncode is None:
            return "left the conversation"
        return f"exited with status {self.returncode}"


class FunctionError(Exception):
    """The function of a `function_worker` raised: the child is unharmed and takes the next input.

    Raised on entering, it is the import or `setup` that failed, and there is no child.

    `type` is the name of the exception's class as the child knows it (``"builtins.ValueError"``), `message` its text,
    `traceback` the child's traceback, which is a note of the error too. All three are text, cut to a sane length:
    nothing of them is evaluated here, and what is printed of them is escaped.
    """

    type: str
    message: str
    traceback: str

    def __init__(self, type: str, message: str, traceback: str = "") -> None:
        super().__init__(type, message, traceback)
        self.type = type
        self.message = message
        self.traceback = traceback
        if traceback:
            self.add_note(printable(traceback.rstrip()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__.copy())

    def __str__(self) -> str:
        name = self.type.removeprefix("builtins.")
        return printable(f"{name}: {self.message}" if self.message else name)


def printable(text: str) -> str:
    """Escape what a terminal would obey: a log shows what a child says, it does not do it."""
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in line)


def _rebuilt(kind: type[Exception], args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    """Make a copied or unpickled error: its constructor takes other arguments than `args`."""
    error: Exception = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


for _error in [*globals().values()]:
    if isinstance(_error, type) and _error.__module__ == __name__:
        _error.__module__ = "worker_spawn"  # a traceback names it as it is imported
