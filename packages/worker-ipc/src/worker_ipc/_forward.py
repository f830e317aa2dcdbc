"""Pass bytes on to this process's stderr, without ever waiting for whoever reads it.

A terminal that is paused, or a log collector that is slow, must not stop the event loop, and must not stop the
children either. So a write that can't be done at once is left to a thread, which holds at most `BACKLOG` bytes and
ends when it caught up; beyond that bytes are dropped, and a line says how many.
"""

import os
import select
import threading

from worker_ipc._descriptors import is_standard

__all__ = ("BACKLOG", "Forwarder", "forward_stderr")

BACKLOG = 1024 * 1024
"""Bytes held for a stderr that does not take them now. Enough for the last words of many children."""


class Forwarder:
    """Writes to one descriptor that is shared with others and may be blocking: its flags are never touched."""

    def __init__(self, fd: int, backlog: int = BACKLOG) -> None:
        self._fd = fd
        self._limit = backlog
        self.begin_anew()

    def begin_anew(self) -> None:
        """Hold nothing back, and know of no thread. A forked copy has none; what waited is written by the original."""
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._dropped = 0
        self._thread_runs = False

    def __call__(self, chunk: bytes) -> None:
        """Write `chunk`, now if the descriptor takes it, else later and in order. Never waits, never raises."""
        with self._lock:
            if not self._thread_runs:
                chunk = self._write_at_once(chunk)
                if not chunk or not self._start_thread():
                    return
            room = self._limit - len(self._waiting)
            self._waiting += chunk[:room]
            self._dropped += max(0, len(chunk) - room)

    def _write_at_once(self, chunk: bytes) -> bytes:
        """Write as much as can be written without waiting. Return the rest."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while chunk:
            if not self._is_ours():
                return b""
            if not any(events & select.POLLOUT for _, events in poll.poll(0)):
                return chunk
            try:
                # A pipe or terminal that polls writable takes PIPE_BUF bytes without blocking, and maybe no more.
                written = os.write(self._fd, chunk[: select.PIPE_BUF])
            except BlockingIOError:
                return chunk
            except OSError:
                return b""  # nobody can read it any more
            chunk = chunk[written:]
        return chunk

    def _is_ours(self) -> bool:
        """Tell whether the number still is a stream to write to. If stderr is closed, the next file gets its number."""
        return self._fd > 2 or is_standard(self._fd)

    def _start_thread(self) -> bool:
        thread = threading.Thread(target=self._write_later, name="worker_ipc: stderr is slow", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads: these bytes are lost, the child is not
            return False
        self._thread_runs = True
        return True

    def _write_later(self) -> None:
        while True:
            with self._lock:
                chunk = bytes(self._waiting)
                self._waiting.clear()
                if self._dropped:
                    chunk += f"\n[worker_ipc: {self._dropped} bytes of stderr dropped]\n".encode()
                    self._dropped = 0
                if not chunk:
                    self._thread_runs = False
                    return
            self._write_patiently(chunk)

    def _write_patiently(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view and self._is_ours():
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                select.select([], [self._fd], [])
            except OSError:
                return


forward_stderr = Forwarder(2)
os.register_at_fork(after_in_child=forward_stderr.begin_anew)  # also the lock: a thread that is gone may hold it
