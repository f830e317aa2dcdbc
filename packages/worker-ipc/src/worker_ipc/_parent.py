"""The parent's end of a channel: start a child and talk to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, final

from ._channel import Channel
from ._core import Core
from ._group import bare_task_group
from ._owner import Child, OwnsChild
from ._process import start_process
from ._stream import MAX_MESSAGE, check_mailbox
from .codecs._check import check_codec

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

    from ._spawn import Stderr, Stdio
    from .codecs import Codec


@final
class ParentChannel(OwnsChild, Channel):
    """A channel to a child process, which it owns. Made by `open_child`."""

    def __init__(self, core: Core, child: Child) -> None:
        super().__init__(core)
        self._child = child


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
        mailbox: how many messages, of 16 MiB at most, are kept for which nobody listens yet (beyond that the newest is
            dropped and counted, see `statistics`), and how many a listener may be behind; at least 1.
        max_message: bytes; a larger message from the child is MessageTooLarge, and ends it.
        cwd: the child's working directory; None is this process's.
        env: variables to add to what is inherited.
        inherit_env: True is all of this process's variables, a collection of names only those, False none.
        stdin: of the child: "devnull" (there is nothing to read), "inherit" (this process's), or an open file or
            descriptor.
        stdout: the same.
        stderr: the same, or "forward" (passed on to this process's) or "capture" (not shown): of both, the last 64 KiB
            are kept for `ChannelClosed.stderr`.

    Raises:
        SpawnError: the command can't be started. Nothing was left behind.
    """
    if codec is None:
        from .codecs import JsonLines

        codec = JsonLines()
    check_codec(codec)
    check_mailbox(mailbox)
    options: dict[str, Any] = {"cwd": cwd, "env": env, "inherit_env": inherit_env}
    options |= {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    async with (
        start_process(command, channel=True, stdio=False, **options) as process,
        bare_task_group() as (group, loop),
    ):
        child = Child(process)
        core = Core(
            loop,
            group,
            child,
            (process.fd_in, process.fd_out),
            codec,
            mailbox=mailbox,
            max_message=max_message,
            is_child=False,
        )
        child.attach(core)
        async with child.destroyed_on_leaving():
            yield ParentChannel(core, child)
