"""The evil child does what its scripts say: seen through a bare socket, as a parent would."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from worker_testkit import MODES, answer, evil, exit_with, kill_self, pause, read, serve, state, step, write

pytestmark = pytest.mark.usefixtures("no_leaks")


@contextmanager
def child(command: list[str], **options: object) -> Iterator[tuple[socket.socket, "subprocess.Popen[bytes]"]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    with ours:
        with theirs:
            env = {**os.environ, "NODE_CHANNEL_FD": str(theirs.fileno())}
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=env, process_group=0, **options)  # type: ignore[call-overload]
        try:
            yield ours, process
        finally:
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
            process.wait()


def everything(sock: socket.socket) -> bytes:
    chunks = []
    while chunk := sock.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def line(sock: socket.socket) -> bytes:
    with sock.makefile("rb") as file:
        return file.readline()


@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_mode_is_a_script_that_the_program_knows(mode: str) -> None:
    from worker_testkit._evil_program import Machine

    command = evil(mode)
    assert all(callable(getattr(Machine, f"do_{name}")) for name, *_ in json.loads(command[-1]))


def test_bytes_are_written_as_they_are() -> None:
    with child(evil(write("\xff\x00["), write("ab", 3), exit_with(3))) as (sock, process):
        assert everything(sock) == b"\xff\x00[ababab"
        assert process.wait() == 3


def test_it_answers_with_the_id_it_was_asked_by() -> None:
    with child(evil(read(), answer("{id}!{id}\n"), serve())) as (sock, _):
        sock.sendall(b'{"jsonrpc":"2.0","method":"x","id":"a-7"}\n')
        assert line(sock) == b'"a-7"!"a-7"\n'
        sock.sendall(b'{"jsonrpc":"2.0","id":5,"method":"x"}\n')
        assert json.loads(line(sock)) == {"jsonrpc": "2.0", "id": 5, "result": "honest"}


def test_it_ends_when_the_parent_hangs_up() -> None:
    with child(evil("ready+message")) as (sock, process):
        assert json.loads(line(sock)) == {"type": "ready"}
        sock.shutdown(socket.SHUT_RDWR)
        assert process.wait(10) == 0


def test_deep_is_a_million_brackets() -> None:
    with child(evil(*MODES["deep"][:2], exit_with(0))) as (sock, _):
        assert everything(sock) == b"[" * 1_000_000 + b"\n"


def test_it_can_die_by_its_own_hand() -> None:
    with child(evil(kill_self())) as (_, process):
        assert process.wait(10) == -signal.SIGKILL


def test_it_can_hang_up_and_live() -> None:
    with child(evil("close-but-live")) as (sock, process):
        assert everything(sock) == b'{"type":"ready"}\n'
        assert process.poll() is None


def test_a_deaf_one_never_reads() -> None:
    with child(evil(write("!"), pause())) as (sock, _):
        assert sock.recv(1) == b"!"
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.sendall(bytes(10_000_000))


def test_it_sends_descriptors() -> None:
    with child(evil(step("descriptors", 4, "x"), pause())) as (sock, _):
        data, fds, _, _ = socket.recv_fds(sock, 10, 10)
        for fd in fds:
            os.close(fd)
        assert (data, len(fds)) == (b"x", 4)


def test_its_grandchild_holds_the_channel() -> None:
    with child(evil(step("fork", "{pid}\n"), exit_with(3))) as (sock, process):
        grandchild = int(line(sock))
        assert process.wait(10) == 3
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert state(grandchild) is not None
        os.killpg(process.pid, signal.SIGKILL)


def test_a_stubborn_one_ignores_sigterm() -> None:
    with child(evil("stubborn")) as (sock, process):
        assert line(sock)
        process.terminate()
        sock.sendall(b"x\n")
        assert process.poll() is None


def test_its_output_goes_where_it_is_told() -> None:
    with child(evil(step("print", 1, "out"), step("print", 2, "err"), exit_with(0)), stdout=-1, stderr=-1) as (
        _,
        process,
    ):
        assert process.communicate() == (b"out", b"err")
