"""A child on a raw socket: what the blocking end does, seen from the wire and nothing else."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

PATIENCE = 20  # seconds; only a hang needs them

PRELUDE = "import os, sys, time, threading\nfrom worker_ipc import blocking\n"
CHANNEL = PRELUDE + "from worker_ipc.blocking import open_parent\nchannel = open_parent().__enter__()\n"


class RawChild:
    """A Python program with a channel, whose other end is `socket`: bytes, and no code of ours."""

    def __init__(self, code, *, fd=None, variables=None, blocking=True, group=True, prelude=CHANNEL):
        self.socket, theirs = socket.socketpair()
        theirs.setblocking(blocking)
        environment = {"NODE_CHANNEL_FD": str(theirs.fileno()), "NODE_CHANNEL_SERIALIZATION_MODE": "json"}
        standard = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        if fd is not None:
            standard[("stdin", "stdout", "stderr")[fd]] = theirs
            environment["NODE_CHANNEL_FD"] = str(fd)
        self.process = subprocess.Popen(
            [sys.executable, "-c", prelude + textwrap.dedent(code)],
            env={**os.environ, **environment, **(variables or {})},
            pass_fds=[theirs.fileno()],
            start_new_session=group,
            **standard,
        )
        theirs.close()
        self.socket.settimeout(PATIENCE)
        self._buffer = b""

    def send(self, *messages):
        self.socket.sendall(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def request(self, method, *params, id=1):
        self.send({"jsonrpc": "2.0", "id": id, "method": method, "params": params})

    def receive(self):
        """The next message; None at the end."""
        line = self.receive_line()
        return None if line is None else json.loads(line)

    def receive_line(self):
        while b"\n" not in self._buffer:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def receive_rest(self):
        """All bytes up to the end."""
        while True:
            try:
                data = self.socket.recv(2**20)
            except ConnectionResetError:
                data = b""
            if not data:
                return self._buffer
            self._buffer += data

    def close(self):
        self.socket.close()

    def wait(self):
        """The exit status, once it has ended; what it wrote to stderr is in `stderr`."""
        _, stderr = self.process.communicate(timeout=PATIENCE)
        self.stderr = (stderr or b"").decode()
        return self.process.returncode

    def ends_quietly(self):
        assert (self.wait(), self.stderr) == (0, "")

    def sleeps(self):
        """Wait until the program's main thread waits in the kernel: it has read what there is."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with open(f"/proc/{self.process.pid}/wchan") as file:
                place = file.read()
            if "poll" in place or "unix_stream" in place:  # a wait with a time, or a read without
                return
            select.select([], [], [], 0.01)
        raise TimeoutError("it does not wait for anything")


@pytest.fixture
def raw_child():
    """Start a `RawChild`; it is killed and reaped with the test."""
    children = []

    def start(code, **options):
        children.append(RawChild(code, **options))
        return children[-1]

    yield start
    for child in children:
        child.socket.close()
        if child.process.poll() is None:
            os.kill(child.process.pid, signal.SIGKILL)
        if child.process.stderr and not child.process.stderr.closed:
            child.process.communicate()
        child.process.wait()
