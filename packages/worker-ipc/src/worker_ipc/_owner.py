"""Owning a child process: how its end becomes the end of the conversation, with the evidence."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, final

from anyio import move_on_after

from ._errors import ChannelClosed, closed_here
from ._writer import flush_within

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ._ending import Ending
    from ._process import Process

EXIT_TIME = 0.5
"""Seconds that a child which closed its end may take to exit, before the channel ends without an exit status."""


@final
class Child:
    """The peer of a parent: a process, whose death ends the conversation."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._ending: Ending | None = None

    def attach(self, ending: Ending) -> None:
        """Begin: read, and watch."""
        self._ending = ending
        ending.stream.reader.start()
        self.process.on_exit(self._died)

    # The death is seen by the process handle, because a grandchild may hold the descriptors open; what the child had
    # written by then is in the kernel's buffer, and is read first.

    def _died(self) -> None:
        if self._ending is not None:
            reader = self._ending.stream.reader
            reader.drain()
            died = death(self.process, reader.pending)
            self._ending.settle(died)
            if (error := self._ending.error) is not None:  # it may have ended before, for another reason
                error.returncode, error.signal, error.stderr = died.returncode, died.signal, died.stderr

    def left(self, ending: Ending, truncated: int) -> None:
        """End of file: the exit follows, or the child goes on without us."""
        if not self.process.alive:
            ending.settle(death(self.process, truncated))
        elif ending.error is None:
            ending.group.start_soon(self._await_exit, ending, truncated, name="worker_ipc await exit")

    async def _await_exit(self, ending: Ending, truncated: int) -> None:
        with move_on_after(EXIT_TIME, shield=True):  # who waits for that in a shielded scope is not left alone
            await self.process.wait()
        ending.settle(death(self.process, truncated))

    def broke_off(self, ending: Ending, error: ChannelClosed) -> None:
        """A child that breaks the rules is ended."""
        error.pid, error.stderr = self.process.pid, self.process.last_words()
        self.process.kill()  # first: who accounts for what it has done finds it at rest
        ending.settle(error)

    async def destroy(self, grace: float) -> None:
        """See `OwnsChild.destroy`."""
        ending = self._ending
        assert ending is not None, "attached before anybody else has it"
        if self.process.alive:
            ending.check_thread()
        if ending.error is None:
            await flush_within(ending.stream.writer, min(EXIT_TIME, grace))
        await self.process.end(partial(ending.settle, closed_here(self.process.pid)), grace=grace)

    @asynccontextmanager
    async def destroyed_on_leaving(self) -> AsyncGenerator[None, None]:
        """Give the child five seconds to end when the block is left; one, when it was cancelled."""
        grace = 1.0
        try:
            yield
            grace = 5.0
        except Exception:
            grace = 5.0
            raise
        finally:
            await self.destroy(grace)


class OwnsChild:
    """What a `ParentChannel` and a `ChildStream` can say and do about their child."""

    _child: Child

    @property
    def command(self) -> tuple[str, ...]:
        """What was started."""
        return self._child.process.command

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.process.pid

    @property
    def returncode(self) -> int | None:
        """The child's exit status, negative for a signal; None while it lives, or if it is unknown."""
        return self._child.process.returncode

    @property
    def stderr(self) -> str:
        """The tail of what the child wrote to stderr so far."""
        return self._child.process.stderr

    async def destroy(self, grace: float = 5.0) -> None:
        """End the child: close the channel; SIGTERM after 0.5 s; SIGKILL to its group after `grace` seconds.

        Returns when it is dead and reaped, also under cancellation. Idempotent. What was sent before still arrives, if
        the child reads; what was received stays readable.
        """
        await self._child.destroy(grace)


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
    return ChannelClosed(reason, pid=process.pid, returncode=code, stderr=process.last_words(), truncated=truncated)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
