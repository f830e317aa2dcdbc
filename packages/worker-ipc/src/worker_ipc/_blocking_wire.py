"""The child's end of the descriptor without an event loop: bytes out at once, messages in when asked.

A write is done when it returns, so nothing can be lost at exit. When the kernel takes no more, the write goes on
*reading*, into `inbox`: two ends that both write a lot before they read would wait for each other for ever. What is
held that way is bounded (`Overrun`).

So reading blocks and writing does not: on one socket, that is said per call (`MSG_DONTWAIT`), and a read is one system
call, where a descriptor that does not block would need a `poll` before it.

A signal handler may send, or raise, and must not find half a message that is not noted. CPython runs it when a call
returns, before the result is stored; but not between a step of an iteration and its store. So where it matters what the
kernel took or gave, `map` makes the call.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, MSG_DONTWAIT, socket  # the module `socket` around it would cost a tenth of a child's start
from _thread import RLock, get_ident
from collections import deque
from itertools import repeat
from select import POLLIN, POLLOUT, poll

from ._errors import ChannelClosed, Overrun, ProtocolError
from ._heap import keep_large_blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from .codecs import Buffer, Codec

CHUNK = 64 * 1024  # bytes per read: measured best for small messages
_WHOLE = 2048  # bytes that a Unix socket takes all or not at all (Linux: at least 2240; BSD, macOS: SO_SNDLOWAT)
_AT_ONCE = (MSG_DONTWAIT,)
_LONGEST = 86400.0  # seconds for one `poll`, which takes no more than some weeks
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
        self.parent_left = False  # and that is why
        self._max_held = max_held
        self._held = 0
        self._counted = 1
        self._decoder = codec.decoder(max_message)
        self._socket = _Lent(fileno=fd)
        self._socket.settimeout(None)  # blocking, whatever the program has made the default of its sockets
        self._send = self._socket.send
        self._whole = _WHOLE if self._socket.family == AF_UNIX else 0
        self._chunks: Iterator[bytes] = map(self._socket.recv, repeat(CHUNK))  # endless: each is a read
        self._chunk = b""  # what was read and is not in the inbox yet
        self._lock = RLock()
        self._missing = 0  # bytes that the kernel has yet to take of a message: until then, no other may follow
        self._owner = get_ident()

    # --- in

    def receive(self, timeout: float | None = None) -> bool:
        """Wait for messages, and put them into the inbox; False when `timeout` seconds passed. Raises `end`."""
        if self.end is not None:
            raise self.end.with_traceback(None)
        if get_ident() != self._owner:
            raise RuntimeError("only the thread that opened the channel may receive; any thread may send")
        if self._chunk:  # a signal handler interrupts what would go on later
            raise RuntimeError("messages are being received: nothing can be received from inside of that")
        if timeout is not None and not self._has_arrived(timeout):
            return bool(self.inbox)  # a signal handler that had to wait in a send has read
        self._read()
        return True

    def _has_arrived(self, timeout: float) -> bool:
        ready = poll()
        ready.register(self.fd, POLLIN)
        while not (arrived := ready.poll(min(max(0.0, timeout), _LONGEST) * 1000)) and timeout > _LONGEST:
            timeout -= _LONGEST
        return bool(arrived)

    def receive_ready(self) -> bool:
        """Put into the inbox what has arrived, without waiting; False: nothing has."""
        if self.end is not None or self._chunk or not self._has_arrived(0):
            return False
        self._read_meanwhile()
        return True

    @property
    def held(self) -> int:
        """Bytes of the messages in the inbox, about."""
        return self._held * len(self.inbox) // self._counted

    def _read_meanwhile(self) -> None:
        """Read, perhaps in a signal handler that waits in a send.

        So it may be what the interrupted program is about to wait for in `receive`: that read must not wait, but have
        the inbox looked at again.
        """
        self._read()
        if self.fd >= 0:
            os.set_blocking(self.fd, False)

    def _read(self) -> None:
        chunks = self._chunks
        try:
            for self._chunk in chunks:
                break
        except BlockingIOError:  # see `_read_meanwhile`; or another process that has this socket did this to it
            os.set_blocking(self.fd, True)
            return
        except OSError as error:  # ECONNRESET: the parent left without reading everything
            if not self._is_gone(error):
                raise
        try:
            if self._chunk:
                self._decode(self._chunk)
            else:
                self.parent_left = True
                self.end = ChannelClosed("the parent is gone", truncated=self._decoder.pending)
        except BaseException:  # what a signal handler raises: nobody knows how far the decoder came
            self.end = ChannelClosed("an exception cut the receiving short: nothing can be received after it")
            raise
        finally:
            self._chunk = b""

    def _decode(self, data: bytes) -> None:
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
        lock = self._lock
        if not lock.acquire(False):  # by position: this is the hot path
            self._wait_for_turn(lock)
        try:
            if not isinstance(data, bytes):
                views = [memoryview(piece).cast("B") for piece in data if len(piece)]
                self._write_large(views, sum(map(len, views)))
            elif len(data) > self._whole:
                self._write_large((data,), len(data))
            else:
                if self._missing or self.fd < 0:
                    self._refuse()
                try:
                    sent = self._send(data, MSG_DONTWAIT)
                except BlockingIOError:
                    sent = 0
                except OSError as error:
                    raise self._gone(error) from error
                if sent != len(data):
                    self._write_large((data[sent:],), len(data) - sent, sent)
        finally:
            lock.release()

    def _write_large(self, pieces: Sequence[bytes | memoryview], size: int, sent: int = 0) -> None:
        """Write what the kernel may take in parts, reading whenever it takes no more."""
        if self._missing or self.fd < 0:
            self._refuse()
        self._missing = size
        try:
            for piece in pieces:
                while (taken := self._write_some(piece)) != len(piece):
                    piece = memoryview(piece)[taken:]
                    self._until_writable()
        except BaseException:  # what a signal handler raises; or Overrun, which is the end already
            if self._missing == size and not sent:
                self._missing = 0
            elif self._missing and self.end is None:
                self.end = ChannelClosed("an exception cut a message short: nothing can follow it")
            raise

    def _write_some(self, piece: bytes | memoryview) -> int:
        try:
            [taken] = map(self._send, (piece,), _AT_ONCE)
            self._missing -= taken
            return taken
        except BlockingIOError:
            return 0
        except OSError as error:
            gone = self._gone(error)
            self._missing = 0  # nothing can follow anyway
            raise gone from error

    def _until_writable(self) -> None:
        """Wait until the kernel takes more. The thread that reads, reads on."""
        keep_large_blocks()
        reads = self.end is None and not self._chunk and get_ident() == self._owner
        ready = poll()
        ready.register(self.fd, POLLOUT | POLLIN if reads else POLLOUT)
        if reads and ready.poll()[0][1] & POLLIN:
            self._read_meanwhile()
            if isinstance(self.end, Overrun):
                raise self.end.with_traceback(None)
        elif not reads:
            ready.poll()

    def _wait_for_turn(self, lock: RLock) -> None:
        """Another thread is in the middle of a message. The one that reads goes on reading."""
        if get_ident() != self._owner:
            lock.acquire()
            return
        while not lock.acquire(timeout=_TURN):
            self.receive_ready()

    def _refuse(self) -> None:
        """Raise why nothing can be sent any more, or not from here."""
        if self.end is not None:
            raise self.end.with_traceback(None)
        if self._missing and self.fd >= 0:  # a signal handler interrupts a write, which would go on later
            raise RuntimeError("a message is being written: nothing can be sent from inside of that")
        raise ChannelClosed("the parent is gone")

    def _gone(self, error: OSError) -> ChannelClosed:
        """Make the error for a system call that found no parent. Raises what is none: a signal handler's own."""
        if not self._is_gone(error):
            raise error
        self.parent_left = True
        return ChannelClosed("the parent is gone")

    def _is_gone(self, error: OSError) -> bool:
        return isinstance(error, ConnectionError) or self.fd < 0

    def close(self) -> None:
        """Close the descriptor: the parent sees the end. Idempotent."""
        if self.fd >= 0:
            self.fd = -1
            self.end = ChannelClosed("this process closed the channel")
            self._socket.close()

    def become_copy(self) -> None:
        """In a forked process: close, also if the fork found a thread in the middle of a write, which is not here."""
        self._lock = RLock()
        self.close()
