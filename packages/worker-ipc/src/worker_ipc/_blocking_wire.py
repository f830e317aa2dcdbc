"""The child's end of the descriptor without an event loop: bytes out at once, messages in when asked.

A write is done when it returns, so nothing can be lost at exit. When the kernel takes no more, the write goes on
*reading*, into `inbox`: two ends that both write a lot before they read would wait for each other for ever. What is
held that way is bounded (`Overrun`).
"""

from __future__ import annotations

import os
from _thread import RLock, get_ident
from collections import deque
from select import POLLIN, POLLOUT, poll

from ._errors import ChannelClosed, Overrun, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .codecs import Buffer, Codec

CHUNK = 64 * 1024  # bytes per read: measured best for small messages
_TURN = 0.02  # seconds between two looks at the inbox while another thread is in the middle of a write


class Wire:
    """One descriptor. The thread that made it reads; any thread may write."""

    def __init__(self, fd: int, codec: Codec[Any], max_message: int, max_held: int) -> None:
        self.fd = fd
        self.inbox: deque[Any] = deque()
        self.average = 0  # bytes of a message in the last chunk
        self.end: ChannelClosed | None = None  # why nothing more comes, once it is so
        self._max_held = max_held
        self._held = 0
        self._counted = 1
        self._decoder = codec.decoder(max_message)
        self._readable = poll()
        self._readable.register(fd, POLLIN)
        self._lock = RLock()
        self._cut = False  # in the middle of a message, or left there by an exception: no other may follow
        self._owner = get_ident()

    # --- in

    def receive(self, timeout: float | None = None) -> bool:
        """Wait for messages, and put them into the inbox; False when `timeout` seconds passed. Raises `end`."""
        if self.end is not None:
            raise self.end.with_traceback(None)
        if get_ident() != self._owner:
            raise RuntimeError("only the thread that opened the channel may receive; any thread may send")
        if not self._readable.poll(None if timeout is None else max(0.0, timeout) * 1000):
            return False
        self._read()
        return True

    def receive_ready(self) -> None:
        """Put into the inbox what has arrived, without waiting, as long as it may be held."""
        if self.end is None and self._readable.poll(0):
            self._read()

    @property
    def held(self) -> int:
        """Bytes of the messages in the inbox, about."""
        return self._held * len(self.inbox) // self._counted

    def _read(self) -> None:
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:  # another process reads what is ours, or a spurious wake-up
            return
        except OSError:  # ECONNRESET: the parent left without reading everything
            data = b""
        if not data:
            self.end = ChannelClosed("the parent is gone", truncated=self._decoder.pending)
            return
        try:
            messages = self._decoder.feed(data)
        except ProtocolError as error:
            self.end = error
            messages = error.received
        if messages:
            self._arrived(messages, len(data))

    def _arrived(self, messages: Sequence[Any], size: int) -> None:
        self._held = size + self.held
        self.average = size // len(messages)
        self.inbox.extend(messages)
        self._counted = len(self.inbox)
        if self._held > self._max_held:
            self.end = Overrun(f"more than {self._max_held} bytes arrived while this process was not listening")

    # --- out

    def write(self, data: bytes | Sequence[Buffer]) -> None:
        """Hand the bytes of one message to the kernel, all of them. Raises ChannelClosed if nobody will read them."""
        if not self._lock.acquire(blocking=False):
            self._wait_for_turn()
        try:
            if self._cut or self.fd < 0:
                self._refuse()
            if not isinstance(data, bytes):
                self._write_pieces(data)
                return
            try:
                sent = os.write(self.fd, data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise ChannelClosed("the parent is gone") from error
            if sent != len(data):
                self._write_rest(memoryview(data)[sent:])
        finally:
            self._lock.release()

    def _write_pieces(self, pieces: Sequence[Buffer]) -> None:
        for piece in pieces:
            view = memoryview(piece).cast("B")
            if len(view):
                self._write_rest(view)

    def _write_rest(self, view: memoryview) -> None:
        """Write what the kernel did not take at once, reading meanwhile."""
        self._cut = True
        reads = get_ident() == self._owner
        ready = poll()
        while view:
            wanted = POLLOUT | POLLIN if reads and self.end is None else POLLOUT
            ready.register(self.fd, wanted)
            if ready.poll()[0][1] & wanted & POLLIN:
                self._read()
                if isinstance(self.end, Overrun):
                    raise self.end.with_traceback(None)
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                pass
            except OSError as error:
                raise ChannelClosed("the parent is gone") from error
        self._cut = False

    def _wait_for_turn(self) -> None:
        """Another thread is in the middle of a message. The one that reads goes on reading."""
        if get_ident() != self._owner:
            self._lock.acquire()
            return
        while not self._lock.acquire(timeout=_TURN):
            self.receive_ready()

    def _refuse(self) -> None:
        if self.fd < 0:
            raise ChannelClosed("this process closed the channel")
        raise ChannelClosed("an exception cut a message short: nothing can follow it")

    def close(self) -> None:
        """Close the descriptor: the parent sees the end. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self.end = ChannelClosed("this process closed the channel")
            os.close(fd)
