"""What the kernel says about this process: its children, its descriptors. Read, never guessed; Linux only.

Elsewhere there is no /proc and both answers are empty: the leak check then sees threads, tasks and files only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Child:
    """A process whose parent is this one. `started` tells two owners of one pid apart."""

    pid: int
    started: str
    state: str
    group: int
    command: str

    @property
    def is_zombie(self) -> bool:
        """Whether it has ended and nobody has asked for its exit status."""
        return self.state == "Z"

    def __str__(self) -> str:
        return f"{'zombie' if self.is_zombie else 'process'} {self.pid}: {self.command}"


def children() -> dict[tuple[int, str], Child]:
    """Return the children of this process, alive or not yet reaped, by pid and start time."""
    me = str(os.getpid())
    found = (_child(entry, me) for entry in _listed("/proc") if entry.isdigit())
    return {(child.pid, child.started): child for child in found if child is not None}


def descriptors() -> dict[int, str]:
    """Return the open descriptors of this process and what each points to."""
    found: dict[int, str] = {}
    for entry in _listed("/proc/self/fd"):
        try:
            found[int(entry)] = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:  # the descriptor that listed the directory
            continue
    return found


def state(pid: int) -> str | None:
    """Return the state letter of any process (R, S, D, T, Z ...), or None if there is no such process."""
    fields = _stat(str(pid))
    return fields[0] if fields else None


def _child(pid: str, parent: str) -> Child | None:
    fields = _stat(pid)
    if fields is None or fields[1] != parent:
        return None
    return Child(int(pid), started=fields[19], state=fields[0], group=int(fields[2]), command=_command(pid))


def _stat(pid: str) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third on; the name before them may contain anything."""
    text = _read(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split() if text else None


def _command(pid: str) -> str:
    words = _read(f"/proc/{pid}/cmdline").split("\0")
    line = " ".join(words).strip() or f"[{_read(f'/proc/{pid}/comm').strip()}]"
    return line if len(line) <= 200 else line[:197] + "..."


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # it ended while we looked
        return ""


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
