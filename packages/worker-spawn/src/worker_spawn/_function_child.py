"""The child of a `function_worker`: a script, run by path, that imports one function and answers inputs with it.

It is a leaf: it needs `os`, `sys`, a codec and the journal, and nothing else until the function asks for more.

    parent -> child    [input, ...]      as many as are ready
    child -> parent    {"ready": bool}   once, first: is the journal in use?  (or {"failed": error}, and it exits)
                       one message for each input, in order:
                       [result]          what the function returned
                       {"type", "message", "traceback"}    what it raised, as text
                       []                withdrawn before it began
                       and at any time
                       {"logger", "level", "text"}         what was logged

Replies to one list of inputs travel together, unless a result was held for longer than `HOLD`: as one message, an
array of them, in JSON; one after another in pickles.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from worker_ipc.codecs import Codec
    from worker_spawn._journal import Journal

HOLD = 0.001  # seconds a finished result may wait for its neighbours: a reader's wake-up costs a tenth of that
TEXT = 16 * 1024  # characters of an error's message or traceback: more is noise, and 100 MB of it an attack


class Replies:
    """What has been finished: held in the journal, written to the channel when a list of inputs is done."""

    def __init__(self, fd: int, codec: Codec[Any], journal: Journal | None, *, joins: bool) -> None:
        self._fd = fd
        self._encode = codec.encode
        self._buffer = memoryview(b"") if journal is None else journal.buffer
        self._words: Any = [0] * 8 if journal is None else journal.words
        self._room = len(self._buffer)
        self._joins = joins  # a message is one line: then many are put together, into a line that is an array
        self._held = 0  # bytes in the journal's buffer
        self._replies = 0  # among them
        self._written = 0  # replies that the channel has been given

    def add(self, message: object, count: int = 1) -> None:
        """Hold one message; write it through if it is large, or if a death could not be survived by it."""
        data = self._encode(message)
        end = self._held + len(data)
        if end > self._room or not isinstance(data, bytes):
            self.flush()
            end = len(data)
            if end > self._room or not isinstance(data, bytes):
                self._write(data)
                self._wrote(count)
                return
        self._buffer[self._held : end] = data
        self._words[2] = self._held = end
        self._replies += count

    def flush(self) -> None:
        """Write what is held. HELD falls before WRITTEN rises: a death in between repeats nothing."""
        if self._held:
            self._write(bytes(self._buffer[: self._held]))
            self._words[2] = self._held = 0
            self._wrote(self._replies)
            self._replies = 0

    def _wrote(self, count: int) -> None:
        self._written += count
        self._words[1] = self._written

    def _write(self, data: bytes | Sequence[bytes | bytearray | memoryview]) -> None:
        if self._joins and isinstance(data, bytes):  # a newline is never inside of a line of JSON
            data = b"[" + data[:-1].replace(b"\n", b",") + b"]\n"
        # Blocking is right here: the parent's reader never waits for its writer.
        for piece in (data,) if isinstance(data, bytes) else data:
            view = memoryview(piece).cast("B")
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except ConnectionError:  # the parent has closed the channel: there is nobody left to answer
                raise SystemExit(0) from None


def read(fd: int) -> bytes:
    """Return what the parent sent; nothing if it has closed the channel, even with words of ours unread."""
    try:
        return os.read(fd, 65536)
    except ConnectionResetError:  # so an end is told to whom still had something to say
        return b""


def serve(fd: int, codec: Codec[Any], call: Callable[[Any], Any], replies: Replies, words: Any) -> None:
    """Answer lists of inputs, one input after another, until the parent closes the channel."""
    from time import monotonic

    decoder = codec.decoder(sys.maxsize)  # the parent is trusted: it may end us anyway
    add, begun = replies.add, 0
    while data := read(fd):
        for inputs in decoder.feed(data):
            since = monotonic()
            for value in inputs:
                begun += 1
                words[0] = begun  # before the range is looked at: the parent sets the range, then looks at this
                if words[4] >= begun > words[3]:
                    add([])
                    continue
                try:
                    add([call(value)])
                except BaseException as error:  # SystemExit too: a function does not end its worker by accident
                    add(describe(error))
                if monotonic() - since > HOLD:
                    replies.flush()
                    since = monotonic()
            replies.flush()


def describe(error: BaseException) -> dict[str, str]:
    """Return an exception as three texts, whatever its `__str__` does."""
    import traceback

    kind = type(error)
    try:
        message = str(error)
    except BaseException as worse:
        message = f"<str() of it raised {type(worse).__name__}>"
    try:
        trace = "".join(traceback.format_exception(error))
    except BaseException:  # it formats the message, or a __cause__, that can't be formatted
        trace = "".join(traceback.format_tb(error.__traceback__))
    name = f"{kind.__module__}.{kind.__qualname__}"
    return {"type": _plain(name), "message": _plain(message), "traceback": _plain(trace, keep_end=True)}


def _plain(text: str, *, keep_end: bool = False) -> str:
    """Cut a text, and make it one that UTF-8 can carry (file names may hold lone surrogates)."""
    if len(text) > TEXT:
        text = "…" + text[-TEXT:] if keep_end else text[:TEXT] + "…"
    return text.encode("utf-8", "backslashreplace").decode()


def resolve(name: str) -> Callable[..., Any]:
    """Import ``package.module:function`` (dots after the colon reach into classes)."""
    from importlib import import_module

    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


class Plain:
    """Makes async functions ordinary ones, all on one event loop that lives as long as the child."""

    _run: Callable[[Any], Any] | None = None

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, or one that runs it to its end if it is async."""
        from inspect import iscoroutinefunction

        if not iscoroutinefunction(function) and not iscoroutinefunction(type(function).__call__):
            return function
        if self._run is None:
            import asyncio

            self._run = asyncio.Runner().run
        run = self._run
        return lambda *arguments: run(function(*arguments))


def _name_the_process(title: str) -> None:
    """Let `ps` and `top` show what this child does (Linux: `comm`, 15 characters)."""
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write(title[:15])
    except OSError:
        pass  # another system: the command line already says it


def main() -> None:
    """Run as a script: take the channel and the orders from the environment, import, serve."""
    environ = os.environ
    fd = int(environ.pop("NODE_CHANNEL_FD"))
    environ.pop("NODE_CHANNEL_SERIALIZATION_MODE", None)
    os.set_inheritable(fd, False)
    os.set_blocking(fd, True)
    sys.path[:] = environ.pop("WORKER_SPAWN_PATH").split(os.pathsep)
    target, setup = sys.argv[1], environ.pop("WORKER_SPAWN_SETUP", "")
    _name_the_process(target.partition(":")[2])

    from worker_spawn import _journal, _logs

    journal = _journal.attach(environ.pop("WORKER_SPAWN_JOURNAL", ""))
    if pickles := environ.pop("WORKER_SPAWN_CODEC") == "pickle":
        from worker_ipc.codecs import Pickled

        codec: Codec[Any] = Pickled()
    else:
        from worker_ipc.codecs import JsonLines

        codec = JsonLines()
    replies = Replies(fd, codec, journal, joins=not pickles)
    _logs.label_output(f"{target.partition(':')[2]}-{os.getpid()}")
    try:
        plain = Plain()
        if setup:
            plain(resolve(setup))()
        call = plain(resolve(target))
    except BaseException as error:
        replies.add({"failed": describe(error)}, count=0)
        replies.flush()
        raise SystemExit(1) from None
    _logs.forward_records(replies, int(environ.pop("WORKER_SPAWN_LOG_LEVEL", 30)))
    replies.add({"ready": journal is not None}, count=0)
    replies.flush()
    serve(fd, codec, call, replies, [0] * 8 if journal is None else journal.words)


if __name__ == "__main__":
    main()
