"""The child that breaks every rule: a tiny machine that follows a script and writes raw bytes.

Run as `python -I -S _evil_program.py SCRIPT`, SCRIPT being a JSON list of steps; `_evil.py` writes it. It knows no
library and no protocol, so that no kindness of ours can get between the bytes and the parent under test.
"""

import array
import json
import os
import re
import signal
import socket
import sys
import time

CHUNK = 65536


class Machine:
    """The descriptor of the channel, and one method for each step. Text is Latin-1: a character is a byte."""

    def __init__(self) -> None:
        name = os.environ.get("NODE_CHANNEL_FD")
        self.input, self.output = (int(name), int(name)) if name else (0, 1)
        os.set_blocking(self.input, True)
        self.unread = b""
        self.line = self.held = b""

    def run(self, script: "list[list[object]]") -> None:
        for name, *arguments in script:
            getattr(self, f"do_{name}")(*arguments)
        self.do_drain()

    def do_write(self, text: str, times: int = 1) -> None:
        """Write the text, `times` times, as fast as the parent reads."""
        data = text.encode("latin-1")
        per_write = max(1, CHUNK // max(1, len(data)))
        while times > 0:
            now = min(times, per_write)
            self._write(data * now)
            times -= now

    def do_flood(self, text: str) -> None:
        """Write the text for ever."""
        while True:
            self.do_write(text, 1000)

    def do_drip(self, text: str) -> None:
        """Write one byte at a time."""
        for byte in text.encode("latin-1"):
            self._write(bytes([byte]))

    def do_read(self, times: int = 1) -> None:
        """Read whole lines; end quietly when the parent hangs up. The last one is what `answer` answers."""
        for _ in range(times):
            while b"\n" not in self.unread:
                data = self._receive()
                if not data:
                    os._exit(0)
                self.unread += data
            self.line, _, self.unread = self.unread.partition(b"\n")

    def do_hold(self) -> None:
        """Keep the line read last, for `answer_held`."""
        self.held = self.line

    def do_answer(self, text: str) -> None:
        """Write the text with {id} replaced by the request id of the line read last."""
        self._answer(text, self.line)

    def do_answer_held(self, text: str) -> None:
        """The same for the line that was held: a late reply."""
        self._answer(text, self.held)

    def do_check_lines(self, last: str) -> None:
        """Read lines until one contains `last`; tell how many there were and how many were not JSON."""
        read = broken = 0
        while last.encode() not in self.line:
            self.do_read()
            read += 1
            try:
                json.loads(self.line)
            except ValueError:
                broken += 1
        self._write(b'{"type":"lines","read":%d,"broken":%d}\n' % (read, broken))

    def do_wait(self, seconds: float) -> None:
        """Do nothing for a while."""
        time.sleep(seconds)

    def do_serve(self) -> None:
        """Answer each request with the word "honest" until the parent hangs up."""
        while True:
            self.do_read()
            if b'"method"' in self.line and b'"id"' in self.line:
                self.do_answer('{"jsonrpc":"2.0","id":{id},"result":"honest"}\n')

    def do_descriptors(self, count: int, text: str) -> None:
        """Write the text with `count` descriptors attached (SCM_RIGHTS)."""
        null = os.open(os.devnull, os.O_RDONLY)
        with socket.socket(fileno=os.dup(self.output)) as peer:
            rights = array.array("i", [null] * count)
            peer.sendmsg([text.encode("latin-1")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        os.close(null)

    def do_print(self, descriptor: int, text: str, times: int = 1) -> None:
        """Write to stdout (1) or stderr (2)."""
        for _ in range(times):
            data = memoryview(text.encode("latin-1"))
            while data:
                data = data[os.write(descriptor, data) :]

    def do_close(self) -> None:
        """Hang up, and live."""
        os.close(self.output)

    def do_ignore(self, number: int) -> None:
        """Ignore a signal."""
        signal.signal(number, signal.SIG_IGN)

    def do_fork(self, text: str = "") -> None:
        """Leave a grandchild that holds every descriptor for ever; tell its pid, if asked, as {pid} in the text."""
        pid = os.fork()
        if not pid:
            self.do_pause()
        self._write(text.encode("latin-1").replace(b"{pid}", str(pid).encode()))

    def do_detach(self) -> None:
        """Leave the process group and the session."""
        os.setsid()

    def do_kill(self, number: int) -> None:
        """Send a signal to this process."""
        os.kill(os.getpid(), number)

    def do_exit(self, code: int) -> None:
        """End at once."""
        os._exit(code)

    def do_spin(self) -> None:
        """Stay in C code, holding the interpreter's lock."""
        sum(range(10**11))

    def do_pause(self) -> None:
        """Do nothing for ever, whatever the parent says."""
        while True:
            signal.pause()

    def do_drain(self) -> None:
        """Read and ignore until the parent hangs up."""
        try:
            while self._receive():
                pass
        except OSError:
            self.do_pause()

    def _answer(self, text: str, to: bytes) -> None:
        found = re.search(rb'"id":\s*("[^"]*"|[^,}\s]+)', to)
        self._write(text.encode("latin-1").replace(b"{id}", found.group(1) if found else b"null"))

    def _receive(self) -> bytes:
        try:
            return os.read(self.input, CHUNK)
        except ConnectionResetError:
            return b""

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.output, view) :]
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)


if __name__ == "__main__":
    Machine().run(json.loads(sys.argv[1]))
