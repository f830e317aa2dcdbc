"""The child's end of the descriptor without an event loop: bytes out at once, messages in when asked.

A write is done when it returns, so nothing can be lost at exit. When the kernel takes no more, the write goes on
*reading*, into `inbox`: two ends that both write a lot before they read would wait for each other for ever. What is
held that way is bounded (`Overrun`).

So reading blocks and writing does not: on one socket, that is said per call (`MSG_DONTWAIT`), and a read is one system
call, where a descriptor that does not block would need a `poll` before it.
"""

from __future__ import annotations

import os
from _socket import MSG_DONTWAIT, socket  # the module `socket` around it would cost a tenth of a child's start
from _thread import RLock, get_ident
from collections import deque
from select import POLLIN, POLLOUT, poll

from ._errors import ChannelClosed, Overrun, ProtocolError
from ._heap import keep_large_blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .codecs import Buffer, Codec

CHUNK = 64 * 1024  # bytes per read: measured best for small messages
_TURN = 0.02  # seconds between two looks at the inbox while another thread is in the middle of a write


class _Lent(socket):
    """A socket on a descriptor that the end of the process closes: another would complain that nobody did."""

    __slots__ = ()

    def __del__(self) -> None:
        self.detach()


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
        os.set_blocking(fd, True)
        self._socket = _Lent(fileno=fd)
        self._send = self._socket.send
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
        if timeout is not None and not self._has_arrived(timeout):
            return False
        self._read()
        return True

    def _has_arrived(self, timeout: float) -> bool:
        ready = poll()
        ready.register(self.fd, POLLIN)
        return bool(ready.poll(max(0.0, timeout) * 1000))

    def receive_ready(self) -> None:
        """Put into the inbox what has arrived, without waiting, as long as it may be held."""
        if self.end is None and self._has_arrived(0):
            self._read()

    @property
    def held(self) -> int:
        """Bytes of the messages in the inbox, about."""
        return self._held * len(self.inbox) // self._counted

    def _read(self) -> None:
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:  # another process that has this socket made it non-blocking
            os.set_blocking(self.fd, True)
            return
        except OSError:  # ECONNRESET: the parent left without reading everything
            data = b""
        if not data:
            self.end = ChannelClosed("the parent is gone", truncated=self._decoder.pending)
            return
        size = self._decoder.pending + len(data)
        try:
            messages = self._decoder.feed(data)
        except ProtocolError as error:
            self.end = error
            messages = error.received
        if not messages:
            return
        self.average = size // len(messages)
        inbox = self.inbox
        self._held = self.held + size if inbox else size
        inbox += messages
        self._counted = len(inbox)
        if self._held > self._max_held:
            self.end = Overrun(f"more than {self._max_held} bytes arrived while this process was not listening")

    # --- out

    def write(self, data: bytes | Sequence[Buffer]) -> None:
        """Hand the bytes of one message to the kernel, all of them. Raises ChannelClosed if nobody will read them."""
        if not self._lock.acquire(False):  # by position: this is the hot path
            self._wait_for_turn()
        try:
            if self._cut or self.fd < 0:
                self._refuse()
            if not isinstance(data, bytes):
                self._write_rest([memoryview(piece).cast("B") for piece in data if len(piece)])
                return
            try:
                sent = self._send(data, MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise ChannelClosed("the parent is gone") from error
            if sent != len(data):
                self._write_rest([memoryview(data)[sent:]])
        finally:
            self._lock.release()

    def _write_rest(self, views: list[memoryview]) -> None:
        """Write what the kernel did not take at once, reading whenever it takes no more."""
        keep_large_blocks()
        self._cut = True
        try:
            for view in views:
                while view := view[self._write_some(view) :]:
                    self._until_writable()
        except ChannelClosed:
            self._cut = False  # nothing can follow anyway
            raise
        except BaseException:  # what a signal handler raises
            self.end = ChannelClosed("an exception cut a message short: nothing can follow it")
            raise
        self._cut = False

    def _write_some(self, view: memoryview) -> int:
        try:
            return self._send(view, MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ChannelClosed("the parent is gone") from error

    def _until_writable(self) -> None:
        """Wait until the kernel takes more. The thread that reads, reads on."""
        reads = self.end is None and get_ident() == self._owner
        ready = poll()
        ready.register(self.fd, POLLOUT | POLLIN if reads else POLLOUT)
        if reads and ready.poll()[0][1] & POLLIN:
            self._read()
            if isinstance(self.end, Overrun):
                raise self.end.with_traceback(None)
        elif not reads:
            ready.poll()

    def _wait_for_turn(self) -> None:
        """Another thread is in the middle of a message. The one that reads goes on reading."""
        if get_ident() != self._owner:
            self._lock.acquire()
            return
        while not self._lock.acquire(timeout=_TURN):
            self.receive_ready()

    def _refuse(self) -> None:
        """Raise why nothing can be sent any more, or not from here."""
        if self.end is not None:
            raise self.end.with_traceback(None)
        if self._cut and self.fd >= 0:  # a signal handler sends while it interrupts a write, which would go on later
            raise RuntimeError("a message is being written: nothing can be sent from inside of that")
        raise ChannelClosed("the parent is gone")

    def close(self) -> None:
        """Close the descriptor: the parent sees the end. Idempotent."""
        if self.fd >= 0:
            self.fd = -1
            self.end = ChannelClosed("this process closed the channel")
            self._socket.close()
