"""Everything that can go wrong with a source, one class per cause.

    WorkerSourcesError                 never raised itself
    ├── SourceClosed                   it takes nothing more: your item is still yours
    ├── QueueFull                      it has no room *now*: your item is still yours
    ├── EncodeError (ValueError)       *your* value would not come back as it is; nothing was stored
    └── StorageError                   the file of a durable source failed; what it had committed is still there
        ├── DatabaseLocked             another process kept the file longer than `busy_timeout`
        ├── DiskFull                   no room for the change; the change was not made
        ├── CorruptFile                the file is ours, and damaged
        └── ForeignFile                the file is not ours; it was not touched

A source that has nothing *now* raises `anyio.WouldBlock`, one that has come to its end `anyio.EndOfStream`: both
are answers, not failures.
"""


class WorkerSourcesError(Exception):
    """Base of all errors of this package. Never raised itself."""


class SourceClosed(WorkerSourcesError):
    """The source takes nothing more: it was closed, or left. Compare `QueueFull`: that one may take it later."""

    def __init__(self, reason: str = "the source is closed") -> None:
        super().__init__(reason)


class QueueFull(WorkerSourcesError):
    """There is no room at this moment: use `await put(...)`, or try later. `maxsize` is the number of places."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self.maxsize = maxsize

    def __str__(self) -> str:
        return f"the queue is full ({self.maxsize} {'place' if self.maxsize == 1 else 'places'})"


class EncodeError(WorkerSourcesError, ValueError):
    """A value that would not come back equal. Raised at the call; nothing of that call was stored."""


class StorageError(WorkerSourcesError):
    """The file of a durable source failed (permissions, I/O, a missing directory). The cause is attached.

    The call that raised it changed nothing. Whatever earlier calls had committed is in the file.
    """

    path: str
    reason: str

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class DatabaseLocked(StorageError):
    """Another connection kept the file locked for longer than `busy_timeout`. Trying again is safe."""


class DiskFull(StorageError):
    """The disk, the quota or the file's limit has no room. The change was not made; trying again later is safe."""


class CorruptFile(StorageError):
    """The file is ours, and SQLite finds it damaged. It is left as it is, for `sqlite3 FILE .recover`."""


class ForeignFile(StorageError):
    """The file is not a queue of this package, or is one of a newer version. It was not touched."""


for _error in [*globals().values()]:
    if isinstance(_error, type) and _error.__module__ == __name__:
        _error.__module__ = "worker_sources"  # a traceback names it as it is imported
