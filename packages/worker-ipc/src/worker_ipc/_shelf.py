"""What arrived and nobody claimed yet, within bounds, for whoever asks next. No I/O, no event loop."""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._rpc import Message


class Shelf:
    """Messages by type, the oldest first. When the bounds are reached, the newest is dropped and counted.

    One message alone is always kept, however large.
    """

    __slots__ = ("_lines", "_max_bytes", "_max_messages", "_order", "bytes", "count", "dropped")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._order = 0
        self._lines: dict[str | None, deque[tuple[int, Message, int]]] = {}  # by type: order, message, size
        self.count: int = 0
        self.bytes: int = 0
        self.dropped: int = 0

    def put(self, type: str | None, message: Message, size: int) -> bool:
        """Keep a message. False: there was no room, and it is dropped."""
        if self.count and (self.count >= self._max_messages or self.bytes + size > self._max_bytes):
            self.dropped += 1
            return False
        self._order += 1
        self._line(type).append((self._order, message, size))
        self._add(size)
        return True

    def put_back(self, type: str | None, message: Message, size: int) -> None:
        """Keep a message that was given out and not taken: it is the oldest of all, and always has room."""
        first = min((line[0][0] for line in self._lines.values()), default=self._order)
        self._line(type).appendleft((first - 1, message, size))
        self._add(size)

    def _line(self, type: str | None) -> deque[tuple[int, Message, int]]:
        line = self._lines.get(type)
        if line is None:
            line = self._lines[type] = deque()
        return line

    def _add(self, size: int) -> None:
        self.count += 1
        self.bytes += size

    def take(self, type: str | None) -> Message | None:
        """Return the oldest message of this type (None: of any), or None."""
        if type is None and self._lines:
            type = min(self._lines, key=lambda type: self._lines[type][0][0])
        line = self._lines.get(type)
        if line is None:
            return None
        _, message, size = line.popleft()
        if not line:
            del self._lines[type]
        self.count -= 1
        self.bytes -= size
        return message

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()
        self.count = self.bytes = 0
