"""The sending half of a stream: bytes, once accepted, leave in order and whole, whatever happens to whoever sent them.

When to write is a choice between latency and throughput, and the writer makes it by what it sees:

* something was received since the last write: the peer is in step with us, so write through, at once;
* several writes in a row: gather them until the next tick, and hand them to the kernel together;
* inside the dispatch of received messages (`corked`): gather, and write once when the dispatch is done.

When the kernel takes no more, the rest waits here and a watch on the descriptor flushes it. Nobody's task is involved,
so a sender that is cancelled can't leave half a message behind. Above the high-water mark senders take turns.
"""

from __future__ import annotations

import os
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from anyio import move_on_after

from ._heap import keep_large_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._readiness import Loop, Waiter
    from .codecs import Buffer

ResultT = TypeVar("ResultT")

HIGH_WATER = 64 * 1024
"""Bytes. asyncio's and Node's marks are 64 and 128 KiB: enough to keep a pipe busy, too little to matter."""

_JOIN_BELOW = 64 * 1024  # bytes: copying that much is cheaper than a vector of small pieces
_TOGETHER = 32  # senders: so many small messages are worth a turn of the loop, and as few are woken in vain
_MAX_VECTOR = 512  # half of Linux's IOV_MAX


class Writer:
    """Owns the writing of one descriptor, not the descriptor. `on_broken` is called when the peer reads no more."""

    __slots__ = (
        "_fd",
        "_loop",
        "_on_broken",
        "_pieces",
        "_scheduled",
        "_through",
        "_watch",
        "broken",
        "corked",
        "cut",
        "in_step",
        "queued",
        "senders",
        "untouched",
        "watching",
    )

    def __init__(self, loop: Loop, fd: int, on_broken: Callable[[], None], *, write_through: bool) -> None:
        self._loop = loop
        self._fd = fd
        self._on_broken = on_broken
        self._through = write_through
        self._pieces: deque[Buffer] = deque()
        self.senders: deque[_Place] = deque()  # who waits for its turn, or has it and has not written yet
        self._watch = loop.writable(fd, self.flush)
        self._scheduled = False
        self.watching: bool = False  # the kernel took no more: a watch flushes
        self.queued: int = 0  # bytes accepted, and not handed to the kernel yet
        self.in_step: bool = True  # set by the reader, when it got one message: the peer may be waiting for our answer
        self.corked: bool = False  # set by the reader while it dispatches
        self.broken: bool = False  # nothing can be sent any more: the peer's end is closed, or ours
        self.untouched: int = 0  # messages, the last ones, of which the kernel has not a byte: so many at least
        self.cut: bool = False  # it broke within a message

    def write(self, data: bytes | Sequence[Buffer], now: bool = False) -> None:
        """Accept the bytes of one message. `now`: they are handed to the kernel before anything else happens."""
        if self.broken:
            self.untouched += 1
            return
        if isinstance(data, bytes):
            if (self.in_step or now or self._through) and not self._pieces and not self.corked:
                self.in_step = False
                self._write_first(data)
                return
            self._pieces.append(data)
            self.queued += len(data)
        else:
            for piece in data:
                if size := len(piece):
                    if piece.__class__ is not bytes:  # the user's own memory, which may change when we return
                        if self.watching:
                            piece = _owned(piece)
                        else:
                            now = True
                    self._pieces.append(piece)
                    self.queued += size
        self.untouched += 1
        if self.watching:
            return
        if now or self._through or self.queued > HIGH_WATER:
            self.flush()
        elif not self._scheduled and not self.corked:
            self._scheduled = True
            self._loop.soon(self._tick)

    def write_many(self, messages: Sequence[bytes | Sequence[Buffer]]) -> None:
        """Accept the bytes of several messages, to be handed to the kernel together."""
        try:
            self.write(b"".join(messages))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except TypeError:  # some of them come in pieces
            for data in messages:
                self.write(data)
        else:
            if self.untouched:  # by one, for all
                self.untouched += len(messages) - 1

    def _write_first(self, data: bytes) -> None:
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.untouched = 1
            self._break()
            return
        if sent != len(data):
            self._pieces.append(memoryview(data)[sent:])
            self.queued = len(data) - sent
            self._start()

    def uncork(self, woke_many: bool) -> None:
        """Write what the dispatch of received messages has sent. `woke_many`: several tasks may send in this tick."""
        self.corked = False
        if self.queued:
            if not self.watching:
                self.flush()
        elif woke_many and self._loop.is_fifo and not self._scheduled:
            # Behind the tasks that were just woken, and before the loop waits again: what they send leaves together,
            # a turn of the loop earlier than if the first of them asked for it.
            self._scheduled = True
            self._loop.soon(self._tick)

    def _tick(self) -> None:
        self._scheduled = False
        if self._pieces and not self.watching:
            self.flush()

    def flush(self) -> None:
        """Hand to the kernel what it takes now."""
        while self._pieces:
            try:
                sent = self._write_some()
            except BlockingIOError:
                sent = 0
            except OSError:
                self._break()
                return
            self.queued -= sent
            if sent:
                self.untouched = 0
            if not self.queued:
                self._pieces.clear()
            elif not self._advance(sent):
                self._own_the_rest()
                self._start()
                break
        else:
            if self.watching:
                self.watching = False
                self._watch.stop()
        if self.senders:
            self._wake_first()

    def _write_some(self) -> int:
        pieces = self._pieces
        if len(pieces) == 1:
            return os.write(self._fd, pieces[0])
        if self.queued <= _JOIN_BELOW:
            joined = b"".join(pieces)
            pieces.clear()
            pieces.append(joined)
            return os.write(self._fd, joined)
        return os.writev(self._fd, [pieces[index] for index in range(min(len(pieces), _MAX_VECTOR))])

    def _advance(self, sent: int) -> bool:
        """Drop what was sent. False: the kernel stopped in the middle."""
        pieces = self._pieces
        if not sent:
            return False
        while pieces and sent >= len(pieces[0]):
            sent -= len(pieces.popleft())
        if sent:
            pieces[0] = memoryview(pieces[0])[sent:]
        return not sent

    def _own_the_rest(self) -> None:
        for index, piece in enumerate(self._pieces):
            if piece.__class__ is not bytes:
                self._pieces[index] = _owned(piece)

    def _start(self) -> None:
        if not self.watching:
            keep_large_blocks()
            self.watching = True
            self._watch.start()

    # --- taking turns

    @property
    def busy(self) -> bool:
        """Tell whether a sender has to wait for its turn. Never true unless `watching`, or with `senders`."""
        return self.queued > HIGH_WATER or bool(self.senders)

    async def in_turn(self, act: Callable[[], ResultT], room: int = HIGH_WATER) -> ResultT:
        """Call `act` when at most `room` bytes are queued: first come, first served. Cancelled before, never.

        Whoever is first stays so until it has acted: between its waking and its turn, what never waits (a reply, a
        request by callback) may have taken the room again.
        """
        place = _Place(self._loop.waiter())
        self.senders.append(place)
        try:
            await place.waiter
            while self.senders and (self.queued > room or self.senders[0] is not place):
                place.waiter = self._loop.waiter()
                await place.waiter
            return act()
        finally:
            if place in self.senders:  # else it is the end, and everyone was woken
                self.senders.remove(place)
                self._wake_first()

    def _wake_first(self) -> None:
        # Several together where they run in this order: a turn of the loop for each costs more than a small message.
        # A wake-up in vain only costs time. Elsewhere one by one, as whoever leaves the line wakes the next.
        if self.senders and self.queued <= HIGH_WATER and not self.senders[0].waiter.done():
            for place in islice(self.senders, _TOGETHER if self._loop.is_fifo else 1):
                place.wake()

    async def drained(self) -> None:
        """Wait until the kernel has everything, or the peer is gone."""
        if self.queued:
            await self.in_turn(lambda: None, room=0)

    # --- the end

    def _break(self) -> None:
        # EPIPE, ECONNRESET: the peer does not read any more.
        self.cut = self.watching or not self.untouched
        self.stop()
        self._loop.soon(self._on_broken)

    def stop(self) -> None:
        """Send nothing more; wake every sender. The descriptor may be closed after that."""
        if self.broken:
            return
        self.broken = True
        self.watching = False
        self._watch.close()
        self._pieces.clear()
        self.queued = 0
        while self.senders:
            self.senders.popleft().wake()


class _Place:
    """In the line of those who wait to send: it is kept, however often its task is woken before it is its turn."""

    __slots__ = ("waiter",)

    def __init__(self, waiter: Waiter) -> None:
        self.waiter = waiter

    def wake(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)


def _owned(piece: Buffer) -> Buffer:
    # A codec may hand out views of the user's own buffers (an array), which the user may change after `send`.
    return piece if isinstance(piece, memoryview) and isinstance(piece.obj, bytes) else bytes(piece)


async def flush_within(writer: Writer, seconds: float) -> None:
    """Give what was sent the chance to arrive: at once what the kernel takes, the rest within a time. Shielded."""
    if writer.queued and not writer.watching:
        writer.flush()
    if writer.queued:
        with move_on_after(seconds, shield=True):
            await writer.drained()
