"""Owning a child process: how its end becomes the end of the conversation, with the evidence."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import move_on_after

from ._ending import Ending
from ._errors import ChannelClosed, ProtocolError
from ._writer import flush_within

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import TaskGroup

    from ._process import Process

EXIT_TIME = 0.5
"""Seconds that a child which closed its end may take to exit, before the channel ends without an exit status."""


class ChildOwner(Ending):
    """The parent's end of a conversation."""

    _process: Process
    _group: TaskGroup

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
    def stderr(self) -> str:
        """The tail of what the child wrote to stderr so far."""
        return self._process.stderr

    async def destroy(self, grace: float = 5.0) -> None:
        """End the child: close the channel; SIGTERM after 0.5 s; SIGKILL to its group after `grace` seconds.

        Returns when it is dead and reaped, also under cancellation. Idempotent. What was sent before still arrives, if
        the child reads; what was received stays readable.
        """
        if self._error is None:
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

    def ended(self, error: Exception | None) -> None:
        """No more messages come. Called by the stream."""
        truncated = self._stream.reader.pending
        if isinstance(error, ProtocolError):
            self._break(error)
        elif not self._process.alive:
            self._settle(death(self._process, truncated))
        elif self._error is None:
            self._group.start_soon(self._await_exit, truncated, name="worker_ipc await exit")

    async def _await_exit(self, truncated: int) -> None:
        with move_on_after(EXIT_TIME):
            await self._process.wait()
        self._settle(death(self._process, truncated))

    def _break(self, error: ChannelClosed) -> None:
        if self._error is None:
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
async def destroyed_on_leaving(owner: ChildOwner) -> AsyncGenerator[None, None]:
    """Give the child five seconds to end when the block is left; one, when it was cancelled."""
    grace = 1.0
    try:
        yield
        grace = 5.0
    except Exception:
        grace = 5.0
        raise
    finally:
        await owner.destroy(grace)
