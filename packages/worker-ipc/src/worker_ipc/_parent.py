"""The parent's end: start a child and talk to it, over a channel of its own or over its stdin and stdout."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, final

from anyio import move_on_after

from ._channel import Channel
from ._errors import ChannelClosed
from ._group import bare_task_group
from ._process import start_process
from ._readiness import Loop, current_loop
from ._stream import MAX_MESSAGE
from ._writer import flush_within

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

    from anyio.abc import TaskGroup

    from ._process import Process
    from ._spawn import Stderr, Stdio
    from .codecs import Codec

EXIT_TIME = 0.5
"""Seconds that a child which closed its end may take to exit, before the channel ends without an exit status."""


@final
class ParentChannel(Channel):
    """A channel to a child process, which it owns. Made by `open_child`."""

    def __init__(self, loop: Loop, group: TaskGroup, process: Process, codec: Codec[Any], **limits: int) -> None:
        super().__init__(loop, group, (process.fd_in, process.fd_out), codec, is_child=False, **limits)
        self._process = process

    @property
    def command(self) -> tuple[str, ...]:
        """What was started."""
        return self._process.command

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The child's exit status, negative for a signal; None while it lives, or if it is unknown."""
        return self._process.returncode

    @property
    def active(self) -> bool:
        """True until the channel has ended: while False, nothing more can be sent or awaited."""
        return self._error is None

    @property
    def stderr(self) -> str:
        """The tail of what the child wrote to stderr so far."""
        return self._process.stderr

    async def destroy(self, grace: float = 5.0) -> None:
        """End the child: close the channel; SIGTERM after 0.5 s; SIGKILL to its group after `grace` seconds.

        Returns when it is dead and reaped, also under cancellation. Idempotent. What was sent before still arrives, if
        the child reads; what was received stays readable.
        """
        await flush_within(self._stream.writer, min(EXIT_TIME, grace))
        await self._process.end(self._close, grace=grace)

    def _close(self) -> None:
        self._settle(ChannelClosed("the channel was closed on this side", pid=self.pid))

    def _start(self) -> None:
        self._stream.reader.start()
        self._process.on_exit(self._child_died)

    # The death is seen by the process handle, because a grandchild may hold the descriptors open; what the child had
    # written by then is in the kernel's buffer, and is read first.

    def _child_died(self) -> None:
        self._stream.reader.drain()
        self._settle(death(self._process, self._stream.reader.pending))

    def _peer_left(self, truncated: int) -> None:
        if not self._process.alive:
            self._settle(death(self._process, truncated))
        elif self._error is None:
            self._group.start_soon(self._await_exit, truncated, name="worker_ipc await exit")

    async def _await_exit(self, truncated: int) -> None:
        with move_on_after(EXIT_TIME):
            await self._process.wait()
        self._settle(death(self._process, truncated))

    def _break(self, error: ChannelClosed) -> None:
        error.pid, error.stderr = self.pid, self.stderr
        self._settle(error)
        self._process.kill()


def death(process: Process, truncated: int) -> ChannelClosed:
    """Say how a child ended, with the evidence."""
    code = process.returncode
    if process.alive:
        reason = "the child closed its end, and lives"
    elif code is None:
        reason = "the child is gone; somebody else collected its exit status"
    elif code < 0:
        reason = f"the child was killed by {_signal_name(-code)}"
    else:
        reason = f"the child exited with code {code}"
    if truncated:
        reason += f", {truncated} bytes into a message"
    return ChannelClosed(reason, pid=process.pid, returncode=code, stderr=process.stderr, truncated=truncated)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@asynccontextmanager
async def open_child(
    command: Sequence[str | os.PathLike[str]],
    *,
    codec: Codec[Any] | None = None,
    mailbox: int = 1000,
    max_message: int = MAX_MESSAGE,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    inherit_env: bool | Collection[str] = True,
    stdin: Stdio = "devnull",
    stdout: Stdio = "inherit",
    stderr: Stderr = "forward",
) -> AsyncGenerator[ParentChannel, None]:
    """Start a child process with a channel to it; end it on leaving, whatever happened.

    Leaving is `destroy(grace=5)`, or `destroy(grace=1)` when the block was cancelled, and is not cancellable itself. An
    exception of yours leaves as it is, never inside an ExceptionGroup.

    Args:
        command: the program and its arguments.
        codec: None is `JsonLines()`, which every Node, Bun and Deno child speaks; a Python child that is to use another
            says so too, in `open_parent(codec=...)`.
        mailbox: how many messages are kept for which nobody listens yet, and how many a listener may be behind.
        max_message: bytes; a larger message from the child is MessageTooLarge, and ends it.
        cwd: the child's working directory; None is this process's.
        env: variables to add to what is inherited.
        inherit_env: True is all of this process's variables, a collection of names only those, False none.
        stdin: of the child; by default there is nothing to read.
        stdout: of the child; by default this process's.
        stderr: of the child; by default passed on to this process's, with its tail kept for `ChannelClosed.stderr`.

    Raises:
        SpawnError: the command can't be started. Nothing was left behind.
    """
    if codec is None:
        from .codecs import JsonLines

        codec = JsonLines()
    options: dict[str, Any] = {"cwd": cwd, "env": env, "inherit_env": inherit_env}
    options |= {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    async with start_process(command, channel=True, stdio=False, **options) as process, bare_task_group() as group:
        channel = ParentChannel(current_loop(group), group, process, codec, mailbox=mailbox, max_message=max_message)
        channel._start()
        grace = 1.0
        try:
            yield channel
            grace = 5.0
        except Exception:
            grace = 5.0
            raise
        finally:
            await channel.destroy(grace)
