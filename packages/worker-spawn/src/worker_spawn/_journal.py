"""What a function child is doing right now, in memory that outlives it.

A child that answers many inputs with one write would, if it died, take finished results with it, and nobody could
say which input had killed it. So it notes both in a small shared memory first: the number of the input it has
begun, and the replies it has not written to the channel yet. The parent reads the notes only after a death, or when
the child seems stuck: to fetch what it has finished, and to take back what it has not begun. There is no lock: each
word has one writer.

    word      written by   meaning
    BEGUN     child        how many inputs it has begun; set before it looks at the withdrawn range
    WRITTEN   child        how many replies the channel has been given
    HELD      child        bytes of whole replies after WRITTEN that wait in the buffer below
    FROM, TO  parent       inputs numbered FROM < n <= TO are withdrawn: the child answers them with ``[]``

The memory has no name. The child finds it by the parent's descriptor (``/proc/<pid>/fd/<n>``), maps it and closes it,
so nothing is left to inherit. A pid says who that is in one namespace only, and /proc may be of another one, where a
stranger has the number: so the child is told which file to expect, and touches no other. Where it can't be reached
there is no journal, and the child writes each reply through instead: slower, and as exact about what finished.
"""

from __future__ import annotations

import mmap
import os

BEGUN, WRITTEN, HELD, FROM, TO = range(5)
HEADER = 64
SIZE = 64 * 1024  # one read of the channel; larger replies are written through


class Journal:
    """The notes, as `words`, and the waiting replies, as `buffer`."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, HEADER + SIZE)
        memory = memoryview(self._map)
        self.words = memory[:HEADER].cast("Q")
        self.buffer = memory[HEADER:]

    def held(self) -> bytes:
        """Return the replies that the child finished and did not get to write."""
        return bytes(self.buffer[: self.words[HELD]])

    def waiting(self) -> tuple[int, bytes] | None:
        """Return WRITTEN and the replies after it, of a child that lives. None: it wrote them just now; look later.

        The child may write its buffer out and fill it anew while we copy. It raises WRITTEN in between, so an
        unchanged WRITTEN says that the copy is of one piece.
        """
        written = self.words[WRITTEN]
        data = self.held()
        return (written, data) if self.words[WRITTEN] == written else None

    def close(self) -> None:
        """Unmap the memory. Idempotent."""
        self.words.release()
        self.buffer.release()
        self._map.close()


def create() -> int | None:
    """Return a descriptor of new anonymous memory, or None where the system has none that a child could find."""
    if not hasattr(os, "memfd_create") or not os.path.exists(f"/proc/{os.getpid()}/fd"):
        return None
    try:
        fd = os.memfd_create("worker-journal", os.MFD_CLOEXEC)
    except OSError:
        return None
    os.ftruncate(fd, HEADER + SIZE)
    return fd


def address(fd: int) -> str:
    """Return where a child of this process finds the memory behind `fd`, and how it knows that this is it."""
    return f"/proc/{os.getpid()}/fd/{fd} {_identity(fd)}"


def attach(where: str) -> Journal | None:
    """Map the parent's memory in the child; None if it can't be reached (another namespace, a hardened kernel)."""
    path, _, identity = where.partition(" ")
    try:
        # Whatever is there: a terminal must not become that of the child's new session.
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return Journal(fd) if _identity(fd) == identity else None
    finally:
        os.close(fd)


def _identity(fd: int) -> str:
    status = os.fstat(fd)
    return f"{status.st_dev}:{status.st_ino}"
