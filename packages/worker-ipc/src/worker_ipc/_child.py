"""The child's end, for a program with an event loop. Without one: `worker_ipc.blocking`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, final

from anyio import CancelScope, sleep

from ._adopt import adopt
from ._channel import Channel
from ._core import Core
from ._errors import ChannelClosed, closed_here
from ._group import bare_task_group
from ._interrupts import ignore_interrupts
from ._stream import MAX_MESSAGE, check_mailbox
from ._watchdog import watch_parent
from ._writer import flush_within
from .codecs._check import check_codec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ._ending import Ending
    from .codecs import Codec

LEAVE_TIME = 5.0
"""Seconds after the parent's end in which a child may finish by itself; then its block is cancelled."""


@final
class Parent:
    """The peer of a child: when it leaves, the child has some time to leave too."""

    def __init__(self) -> None:
        self.body = CancelScope()
        self.is_gone = False

    def left(self, ending: Ending, truncated: int) -> None:
        """End of file: the parent closed the channel, or died."""
        self.broke_off(ending, ChannelClosed("the parent closed the channel, or is gone", truncated=truncated))

    def broke_off(self, ending: Ending, error: ChannelClosed) -> None:
        """Whatever the parent did, there is no other one: the child ends."""
        if ending.error is None:
            self.is_gone = True
            ending.settle(error)
            ending.group.start_soon(self._leave, name="worker_ipc leave")

    async def _leave(self) -> None:
        await sleep(LEAVE_TIME)
        self.body.cancel()


@final
class ChildChannel(Channel):
    """The channel to the parent process. Made by `open_parent`.

    Iterations end quietly when the parent closes the channel. A message is in the kernel's hands when `send` returns,
    and so is a reply before the next message is handled: a crash can't lose what was already answered.
    """

    async def close(self) -> None:
        """End the conversation, as leaving the block does: what was sent leaves first, later calls raise ChannelClosed.

        Idempotent. Cancelled while the parent does not read, it is closed without the rest.
        """
        self._core.check_thread()
        try:
            await self._core.stream.drained()
        finally:
            self._core.settle(closed_here())


@asynccontextmanager
async def open_parent(
    *, codec: Codec[Any] | None = None, mailbox: int = 1000, max_message: int = MAX_MESSAGE
) -> AsyncGenerator[ChildChannel, None]:
    """Open the channel to the process that started this one.

    From here on the two variables that announced the channel are gone from `os.environ`, and no process started here
    inherits it. Leaving waits until what was sent is in the kernel's hands.

    The child ends with its parent: iterations end, other waits raise ChannelClosed, which does not come out of the
    block then; what has not left it 5 seconds later is cancelled; a child that hangs outside the event loop is killed
    when the parent process is dead. Ctrl-C is the parent's: SIGINT is ignored where this process shares its group.

    Args:
        codec: None is `JsonLines()`; both ends must use the same.
        mailbox: how many messages, of 16 MiB at most, are kept for which nobody listens yet (beyond that the newest is
            dropped and counted, see `statistics`), and how many a listener may be behind; at least 1.
        max_message: bytes; a larger message from the parent is MessageTooLarge, and ends the channel.

    Raises:
        NoChannel: this process was not started with a channel, or with one that it cannot use. The text says what to
            do.
        TypeError: `codec` is none. The channel can still be opened.
    """
    check_mailbox(mailbox)
    if codec is None:
        from .codecs import JsonLines

        codec = JsonLines()
    check_codec(codec)
    fd = adopt()
    watch_parent(fd)
    restore_interrupts = ignore_interrupts()
    async with bare_task_group() as (group, loop):
        parent = Parent()
        core = Core(
            loop,
            group,
            parent,
            (fd, fd),
            codec,
            mailbox=mailbox,
            max_message=max_message,
            is_child=True,
        )
        core.stream.reader.start()
        try:
            with parent.body:
                yield ChildChannel(core)
            await core.stream.drained()
        except BaseException as error:
            await flush_within(core.stream.writer, 1.0)
            if error.__class__ is not ChannelClosed or not parent.is_gone:
                raise
        finally:
            core.settle(closed_here())
            restore_interrupts()
