"""What arrived and nobody claimed yet, within bounds, for whoever asks next. No I/O, no event loop."""

from __future__ import annotations

from bisect import insort
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._claims import Entry


class Shelf:
    """Messages by type, as they arrived. When the bounds are reached, the newest is dropped and counted.

    One message alone is always kept, however large.
    """

    __slots__ = ("_lines", "_max_bytes", "_max_messages", "bytes", "count", "dropped")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._lines: dict[str | None, deque[Entry]] = {}  # by type
        self.count: int = 0
        self.bytes: int = 0
        self.dropped: int = 0

    def put(self, type: str | None, entry: Entry) -> bool:
        """Keep a message. False: there was no room, and it is dropped."""
        if self.count and (self.count >= self._max_messages or self.bytes + entry[2] > self._max_bytes):
            self.dropped += 1
            return False
        self.put_back(type, entry)
        return True

    def put_back(self, type: str | None, entry: Entry) -> None:
        """Keep a message that was given out and not taken: it always has room."""
        line = self._lines.get(type)
        if line is None:
            line = self._lines[type] = deque()
        if line and entry < line[-1]:
            insort(line, entry)
        else:
            line.append(entry)
        self.count += 1
        self.bytes += entry[2]

    def take(self, type: str | None) -> Entry | None:
        """Return the oldest message of this type (None: of any), or None."""
        if type is None and self._lines:
            type = min(self._lines, key=lambda type: self._lines[type][0])
        line = self._lines.get(type)
        if line is None:
            return None
        entry = line.popleft()
        if not line:
            del self._lines[type]
        self.count -= 1
        self.bytes -= entry[2]
        return entry

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()
        self.count = self.bytes = 0
