"""Where inputs come from, one at a time, when asked."""

from ._compose import Merged as Merged
from ._compose import batched as batched
from ._compose import limited as limited
from ._compose import mapped as mapped
from ._compose import merge as merge
from ._compose import throttle as throttle
from ._delivery import Delivery as Delivery
from ._errors import CorruptFile as CorruptFile
from ._errors import DatabaseLocked as DatabaseLocked
from ._errors import DiskFull as DiskFull
from ._errors import EncodeError as EncodeError
from ._errors import ForeignFile as ForeignFile
from ._errors import QueueFull as QueueFull
from ._errors import SourceClosed as SourceClosed
from ._errors import StorageError as StorageError
from ._errors import WorkerSourcesError as WorkerSourcesError
from ._event import EventSource as EventSource
from ._iterable import IterableSource as IterableSource
from ._queue import QueueSource as QueueSource
from ._sqlite import SqliteSource as SqliteSource
from ._sqlite import SqliteStatistics as SqliteStatistics
from ._sqlite_dead import DeadLetter as DeadLetter
from ._sqlite_dead import DeadLetters as DeadLetters

__all__ = [
    "CorruptFile",
    "DatabaseLocked",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "DiskFull",
    "EncodeError",
    "EventSource",
    "ForeignFile",
    "IterableSource",
    "Merged",
    "QueueFull",
    "QueueSource",
    "SourceClosed",
    "SqliteSource",
    "SqliteStatistics",
    "StorageError",
    "WorkerSourcesError",
    "batched",
    "limited",
    "mapped",
    "merge",
    "throttle",
]
