"""Start a child process, watch it, end it.

    async with start_process([sys.executable, "child.py"], channel=True, stdio=False) as process:
        ...                                    # talk over process.fd_in and process.fd_out
        await process.end(ask=stream.close)
    # whatever happened, cancellation included: the child is dead, reaped, and none of its descriptors is left

The parts, each in its own file: `_spawn` (the fork), `_environment`, `_descriptors`, `_handle` (death, signals,
status), `_stderr` and `_forward`, `_orphans` (when the parent dies first), `_living` (when the parent is forked, or
just ends), `_ladder` (how a child is ended).
"""

import logging
import os
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import final

import anyio

from worker_ipc._environment import make_environment
from worker_ipc._forward import forward_stderr
from worker_ipc._handle import Handle
from worker_ipc._ladder import climb_down
from worker_ipc._living import look_after
from worker_ipc._spawn import ParentEnds, SpawnRequest, Stderr, Stdio, check_command, spawn
from worker_ipc._stderr import StderrPump
from worker_ipc._whole import keep_whole

__all__ = ("Process", "start_process")

logger = logging.getLogger("worker_ipc")


@asynccontextmanager
async def start_process(
    command: Sequence[str | os.PathLike[str]],
    *,
    channel: bool,
    stdio: bool,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    inherit_env: bool | Collection[str] = True,
    stdin: Stdio = "devnull",
    stdout: Stdio = "inherit",
    stderr: Stderr = "forward",
) -> "AsyncGenerator[Process, None]":
    """Run a child for as long as the block lasts. Leaving kills what was not ended before (`Process.end`).

    Starting takes about 0.4 ms and does not suspend; leaving is shielded from cancellation and bounded.

    Args:
        command: the program and its arguments. Secrets belong on the channel: everyone can read a command line.
        channel: give the child one end of a socket pair, named in `NODE_CHANNEL_FD`.
        stdio: connect the child's stdin and stdout to pipes instead. Not both.
        cwd: its working directory; None is this process's.
        env: variables to add to what is inherited.
        inherit_env: True is all of this process's variables, a collection of names only those, False none. The
            variables of *our* parent's channel are never inherited.
        stdin: of the child: nothing to read, by default.
        stdout: of the child: this process's, by default.
        stderr: of the child: passed on to this process's with its tail kept, by default.

    Raises:
        SpawnError: the command is missing or not executable, `cwd` is bad, or descriptors, memory or processes ran out.
            Nothing was left behind.
    """
    keep_whole()
    if channel and stdio:
        raise ValueError("a child talks over a channel or over its stdin and stdout, not both")
    request = SpawnRequest(
        check_command(command),
        channel,
        stdio,
        None if cwd is None else os.fspath(cwd),
        partial(make_environment, env, inherit_env),
        stdin,
        stdout,
        stderr,
    )
    handle, ends = spawn(request)
    process = Process(request, handle, ends)
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as watchers:
            watchers.start_soon(process.watch_exit)
            watchers.start_soon(process.watch_stderr)
            try:
                yield process
            except BaseException as error:  # kept, so that it leaves as it is and not inside an ExceptionGroup
                failure = error
            finally:
                await process.leave()
    finally:
        process.close()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure


@final
class Process:
    """One child process, made by `start_process` only.

    `command`, `pid`; `fd_in` and `fd_out`, our non-blocking ends of the channel (the same number twice) or of the
    child's stdout and stdin, -1 if there are none. Whoever wraps them in a stream may close them; what is left open
    is closed with the block.
    """

    def __init__(self, request: SpawnRequest, handle: Handle, ends: ParentEnds) -> None:
        self.command: tuple[str, ...] = request.command
        self.pid: int = handle.pid
        self.fd_in: int = ends.fd_in.number if ends.fd_in is not None else -1
        self.fd_out: int = ends.fd_out.number if ends.fd_out is not None else -1
        self._handle = handle
        self._ends = ends
        self._dead = anyio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._owner = os.getpid()
        self._was_ended = self._closed = False
        # Shielded: a cancelled block still has to see its child die.
        self._watching_exit = anyio.CancelScope(shield=True)
        self._watching_stderr = anyio.CancelScope(shield=True)
        self._pump: StderrPump | None = None
        if ends.stderr is not None:
            self._pump = StderrPump(ends.stderr.number, forward_stderr if request.stderr == "forward" else None)
        look_after(self)

    @property
    def returncode(self) -> int | None:
        """The exit status once the child was reaped; negative is a signal. None is alive, or unknown: see `alive`."""
        return self._handle.returncode

    @property
    def alive(self) -> bool:
        """Whether the child's end was not seen yet."""
        return not self._handle.reaped

    @property
    def stderr(self) -> str:
        """The last 64 KiB of the child's stderr, as text that is safe to print: control characters are escaped."""
        return self._pump.tail.text() if self._pump is not None else ""

    def last_words(self) -> str:
        """Read what is there of the child's stderr now, which the loop may not have come to, and return `stderr`."""
        if self._pump is not None and not self._closed:
            self._pump.drain()
        return self.stderr

    def on_exit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, in the loop's thread, after the child was reaped and its stderr read; or now."""
        if self._dead.is_set():
            callback()
        else:
            self._callbacks.append(callback)

    async def wait(self) -> int | None:
        """Wait until the child is dead and reaped. Return its status; None if somebody else collected it."""
        self._check_owner()
        await self._dead.wait()
        return self.returncode

    async def end(self, ask: Callable[[], None], *, grace: float = 5.0) -> None:
        """End the child: `ask()`, SIGTERM after 0.5 s, SIGKILL to its group after `grace` seconds.

        Returns once it is dead and reaped, within `grace` + 2 seconds; a process that can't be killed is given up with
        a logged warning. Not cancellable. May be called any number of times, also while another call is under way:
        the most impatient one decides. `ask` is not called if the child is dead already.
        """
        self._check_owner()
        await climb_down(self, ask, grace)

    def kill(self) -> None:
        """SIGKILL the child and its group, now. Its end is seen later, by `wait` and `on_exit`."""
        self._check_owner()
        self._handle.kill_group()

    def terminate(self) -> None:
        """SIGTERM to the child alone, and SIGCONT in case it is stopped."""
        self._check_owner()
        self._handle.terminate()

    def poll(self) -> bool:
        """Tell whether the child is dead and reaped, looking now; if it is, `wait` and `on_exit` know."""
        if not self._dead.is_set() and self._handle.poll():
            if self._pump is not None:
                self._pump.drain()
            self._dead.set()
            for callback in self._callbacks:
                _call(callback)
            self._callbacks.clear()
        return self._dead.is_set()

    async def wait_dead(self) -> None:
        """Wait until the death was seen, by whoever looked first."""
        await self._dead.wait()

    def __repr__(self) -> str:
        state = "running" if self.alive else f"returncode={self.returncode}"
        return f"<Process {self.pid} {self.command[0]!r} {state}>"

    def mute(self) -> None:
        """Let go of everything shared with the process that this one was forked from (`_living`)."""
        self._handle.descriptor.mute()
        for end in self._ends.all():
            end.mute()

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise RuntimeError(f"process {self.pid} belongs to process {self._owner}; this is a forked copy of it")

    # What follows belongs to `start_process`, and to the garbage collector when nobody left the block.

    async def watch_exit(self) -> None:
        """Look whenever the handle says so, until the death was seen."""
        with self._watching_exit:
            while not self.poll():
                await anyio.wait_readable(self._handle.descriptor.number)

    async def watch_stderr(self) -> None:
        """Read the child's stderr for as long as anyone holds it: the child, or a grandchild that outlives it."""
        with self._watching_stderr:
            while self._pump is not None and not self._pump.at_end:
                await anyio.wait_readable(self._pump.fd)
                self._pump.pump()

    async def leave(self) -> None:
        """Kill the child if it lives, and stop watching it."""
        try:
            if os.getpid() == self._owner:
                await climb_down(self, _nothing, 0.0)
                self._was_ended = True
        finally:
            self._watching_exit.cancel()
            self._watching_stderr.cancel()

    def close(self) -> None:
        """Close all that is left. Kills and reaps first, without a loop, if that did not happen yet."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() == self._owner and not self._was_ended:
            self._end_now()
        if self._pump is not None:
            self._pump.drain()
        self._ends.close()
        self._handle.close()

    def _end_now(self) -> None:
        self._handle.kill_group()
        for _ in range(100):  # a killed process is gone in about a millisecond; this bounds the one that is not
            if self.poll():
                return
            time.sleep(0.001)

    def abandon(self) -> None:
        """Close what nobody closed, with a `ResourceWarning`: when the interpreter or the last reference ends."""
        if self._closed or os.getpid() != self._owner:
            return
        message = f"unclosed {self!r}: the block of start_process was never left"
        self._callbacks.clear()  # their loop is gone, and so is that of whoever waits
        self._dead = anyio.Event()
        self.close()
        warnings.warn(message, ResourceWarning, source=self, stacklevel=2)

    __del__ = abandon


def _nothing() -> None:
    pass


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        logger.exception("an on_exit callback failed")
