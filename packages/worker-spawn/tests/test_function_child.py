"""The child of a function worker, alone on its channel: it never outlives its parent, nor complains of its end."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from worker_spawn import _function_child


@contextmanager
def child(function: str) -> Iterator[tuple[socket.socket, subprocess.Popen[str]]]:
    """Start one as its parent would; yield the parent's end of the channel, and the process."""
    ours, its = socket.socketpair()
    environment = os.environ | {
        "NODE_CHANNEL_FD": str(its.fileno()),
        "WORKER_SPAWN_PATH": "\n".join(sys.path),
        "WORKER_SPAWN_CODEC": "json",
    }
    command = [sys.executable, _function_child.__file__, function]
    with (
        ours,
        subprocess.Popen(
            command,
            pass_fds=[its.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        its.close()
        try:
            yield ours, process
        finally:
            process.kill()


def wait_for_words(channel: socket.socket) -> None:
    assert select.select([channel], [], [], 30)[0]


def test_it_ends_quietly_when_its_parent_leaves_with_its_greeting_unread() -> None:
    with child("functions:double") as (channel, process):
        wait_for_words(channel)
        channel.close()
        assert process.communicate(timeout=30) == (None, "")
        assert process.returncode == 0


@pytest.mark.parametrize("count", [1, 20_000])
def test_it_ends_quietly_when_its_parent_leaves_with_answers_unread(count: int) -> None:
    with child("functions:double") as (channel, process):
        wait_for_words(channel)
        channel.recv(65536)
        channel.sendall(b"[" + b",".join([b'"x"'] * count) + b"]\n")
        wait_for_words(channel)
        channel.close()
        assert process.communicate(timeout=30) == (None, "")
        assert process.returncode == 0


def test_an_interrupted_write_is_the_last_one() -> None:
    """Half a message, and another one behind it, would be taken for the rest of the first."""
    with child("functions:large_and_late") as (channel, process):
        wait_for_words(channel)
        channel.recv(65536)
        channel.sendall(b"[4000000, 1]\n")
        wait_for_words(channel)  # it writes now, more than the channel holds
        process.send_signal(signal.SIGALRM)
        channel.settimeout(30)
        received = b"".join(iter(lambda: channel.recv(65536), b""))
        assert received.count(b"x") == len(received.removeprefix(b'{"results":["'))
        _, words = process.communicate(timeout=30)
        assert "TimeoutError: late" in words
        assert process.returncode == 1
