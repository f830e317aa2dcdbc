"""Everything that can go wrong on a channel, one class per cause.

    WorkerIpcError                     never raised itself
    ├── SpawnError (OSError)           the command could not be started
    ├── NoChannel                      this process was not started with a channel
    ├── EncodeError (ValueError)       *your* message cannot be sent as it is; the channel is unharmed
    ├── WouldBlock                     `send_nowait` found the peer not reading
    ├── RemoteError                    the peer's function failed; the channel is unharmed
    └── ChannelClosed                  the peer is gone (or you closed): nothing more will arrive
        ├── Overrun                    the peer floods, and nobody here reads
        └── ProtocolError              the peer broke the rules of the wire
            └── MessageTooLarge        one message is larger than `max_message`

`worker_ipc.blocking` raises these too, so this module imports nothing.
"""


class WorkerIpcError(Exception):
    """Base of all errors of this package. Never raised itself."""


class SpawnError(WorkerIpcError, OSError):
    """The command could not be started: missing, not executable, a bad `cwd`, no descriptors left.

    `errno`, `strerror` and `filename` are those of the operating system's error; `command` is what was asked for.
    Nothing was left behind. Compare `ChannelClosed`: that one started, and ended.
    """

    command: tuple[str, ...]

    def __init__(self, command: tuple[str, ...], cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror, cause.filename)
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        cause = OSError(self.errno, self.strerror, self.filename)
        return self.__class__, (self.command, cause), self.__dict__

    def __str__(self) -> str:
        return f"cannot start {' '.join(self.command)!r}: {OSError.__str__(self)}"


class NoChannel(WorkerIpcError):
    """`open_parent` was called in a process that no parent gave a channel to."""


class EncodeError(WorkerIpcError, ValueError):
    """A message that would not arrive as it is. Raised at the call; nothing was sent, the channel is unharmed."""


class WouldBlock(WorkerIpcError):
    """The peer is not reading and the send buffer is full: use `await send(...)`, or try later."""


class RemoteError(WorkerIpcError):
    """The peer's function raised, or it has no such function. The channel is unharmed.

    `code` and `message` are those of JSON-RPC 2.0. `data` is whatever the peer attached; a Python peer sends
    ``{"type": ..., "traceback": ...}``, and that traceback is a note of the error. The text is the peer's: it is never
    evaluated, imported or unpickled, and ``str(error)`` escapes what a terminal would obey.
    """

    code: int
    message: str
    data: object

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def __reduce__(self) -> tuple[object, ...]:
        return self.__class__, (self.code, self.message, self.data), self.__dict__

    def __str__(self) -> str:
        return printable(str(self.message))


class ChannelClosed(WorkerIpcError):
    """The conversation is over: the peer exited, disconnected, or you closed the channel.

    What had been received before stays readable first. The evidence, as far as it is known:
    `pid`; `returncode` (as of `subprocess`: negative is a signal); `signal`, its number or None; `stderr`, the tail
    of what the child wrote there; `truncated`, the bytes of a last message that never became whole; `unread`, how many
    of the messages that you sent last the peer certainly did not read in full: it can't have acted on them.
    """

    pid: int | None = None
    returncode: int | None = None
    signal: int | None = None
    stderr: str = ""
    truncated: int = 0
    unread: int = 0

    reason: str = "the channel is closed"

    def __init__(
        self,
        reason: str = "",
        *,
        pid: int | None = None,
        returncode: int | None = None,
        stderr: str = "",
        truncated: int = 0,
    ) -> None:
        super().__init__(reason or self.reason)
        self.reason = reason or self.reason
        self.pid = pid
        self.returncode = returncode
        self.signal = -returncode if returncode is not None and returncode < 0 else None
        self.stderr = stderr
        self.truncated = truncated

    def __str__(self) -> str:
        text = self.reason if self.pid is None else f"{self.reason} (pid {self.pid})"
        *_, last = self.stderr.rstrip().splitlines() or [""]
        return f"{text}; its last words: {last[-200:]}" if last else text


CLOSED_HERE = "the channel was closed on this side"


def closed_here(pid: int | None = None) -> ChannelClosed:
    """Say that nobody but this side is to blame."""
    return ChannelClosed(CLOSED_HERE, pid=pid)


class Overrun(ChannelClosed):
    """The peer sent more than may be held here while nobody read it. Compare `WouldBlock`: that is the other way."""


class ProtocolError(ChannelClosed):
    """The peer broke the rules of the wire: the channel is broken and the child is ended; the parent lives.

    `received` holds the messages that were complete before the violation: they are still delivered.
    """

    received: "tuple[object, ...]" = ()


class MessageTooLarge(ProtocolError):
    """One message is larger than `max_message` bytes. It is never cut and delivered."""


def printable(text: str) -> str:
    r"""Escape what could move a cursor, hide text or forge a line, as ``\x1b``. Line feeds and tabs stay."""
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in line)


for _error in [*globals().values()]:
    if isinstance(_error, type) and _error.__module__ == __name__:
        _error.__module__ = "worker_ipc"  # a traceback names it as it is imported
