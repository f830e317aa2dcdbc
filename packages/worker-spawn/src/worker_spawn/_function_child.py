"""The child of a `function_worker`: a script, run by path, that imports one function and answers inputs with it.

It is a leaf: it needs `os`, `sys`, a codec and the journal, and nothing else until the function asks for more.

    parent -> child    [input, ...]      as many as are ready
    child -> parent    {"ready": bool}   once: is the journal in use?  (or {"failed": error}, and it exits)
                       one message for each input, in order:
                       [result]          what the function returned
                       {"type", "message", "traceback"}    what it raised, as text
                       []                withdrawn before it began
                       and at any time
                       {"logger", "level", "text"}         what was logged

Replies to one list of inputs travel together, unless a result was held for longer than `HOLD`. In JSON that is one
message: `{"results": [result, ...]}` if there is nothing else, or an array of replies. Pickles follow one another, and
so do inputs there: each is a message.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock
from collections import deque
from types import CoroutineType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from worker_ipc.codecs import Buffer, Codec
    from worker_spawn._journal import Journal
    from worker_spawn._pickles import ChildPickles

HOLD = 0.001  # seconds a finished result may wait for its neighbours: a reader's wake-up costs a tenth of that
BEGUN, WRITTEN, HELD, FROM, TO = range(5)  # as in `_journal`, which can't be imported before `sys.path` is the parent's
NO_WORDS = (0,) * 5
TEXT = 16 * 1024  # characters of an error's message or traceback: more is noise, and 100 MB of it an attack
MAX_MESSAGE = 64 * 2**20  # bytes, as of `worker_ipc.open_stream`


class Replies:
    """What has been finished: held in the journal, written to the channel when a list of inputs is done.

    All of it belongs to the thread that calls the function, but for `send_aside`, which any may call.
    """

    def __init__(
        self, fd: int, codec: Codec[Any], journal: Journal | None, *, joins: bool, max_message: int = MAX_MESSAGE
    ) -> None:
        self._fd = fd
        self._encode = codec.encode
        self._max_message = max_message  # bytes of a result
        self._buffer = memoryview(b"") if journal is None else journal.buffer
        self._words: Any = list(NO_WORDS) if journal is None else journal.words
        self._room = min(len(self._buffer), max_message)
        self.joins = joins  # a message is a line of JSON: then many are made one
        self._others = False  # is anything held that is not a result?
        self._held = 0  # bytes in the journal's buffer
        self._replies = 0  # among them
        self._written = 0  # replies that the channel has been given
        self._writing = allocate_lock()  # held by whoever writes to the channel
        self._aside: deque[bytes | Sequence[Buffer]] = deque()  # messages of others, for whoever writes next
        self.is_copy = False

    def add_result(self, data: bytes | Sequence[Buffer]) -> None:
        """Hold the encoded reply of a function that returned: the hot path of `add`."""
        end = self._held + len(data)
        if end <= self._room and isinstance(data, bytes):
            self._buffer[self._held : end] = data
            self._words[HELD] = self._held = end
            self._replies += 1
        elif (size := _size(data)) > self._max_message:
            from worker_ipc import EncodeError

            limit = f"the limit is max_message={self._max_message} bytes"
            self.add(describe(EncodeError(f"this result is a message of {size} bytes, and {limit}")))
        else:
            self._add(data, 1, False)

    def add(self, message: object, count: int = 1) -> None:
        """Hold one message; write it through if it is large, or if a death could not be survived by it."""
        self._add(self._encode(message), count, True)

    def _add(self, data: bytes | Sequence[Buffer], count: int, is_other: bool) -> None:
        if not isinstance(data, bytes) or self._held + len(data) > self._room:
            self.flush()
        self._others = self._others or is_other
        if not isinstance(data, bytes) or len(data) > self._room:
            self._write(data, count)
            return
        end = self._held + len(data)
        self._buffer[self._held : end] = data
        self._words[HELD] = self._held = end
        self._replies += count

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            self._write(bytes(self._buffer[: self._held]), self._replies)

    def _write(self, data: bytes | Sequence[Buffer], count: int) -> None:
        if self.joins and isinstance(data, bytes):  # lines of JSON; a newline is never inside of one
            if self._others:
                data = b"[" + data[:-1].replace(b"\n", b",") + b"]\n"
            else:
                data = b'{"results":' + data[:-1].replace(b"]\n[", b",") + b"}\n"
        if self.is_copy:
            raise SystemExit(0)
        with self._writing:
            self._write_whole(data)
        self._write_aside()
        # HELD falls before WRITTEN rises: a death in between repeats nothing.
        self._words[HELD] = self._held = 0
        self._written += count
        self._words[WRITTEN] = self._written
        self._replies, self._others = 0, False

    def _write_whole(self, data: bytes | Sequence[Buffer]) -> None:
        # Blocking is right here: the parent's reader never waits for its writer.
        for piece in (data,) if isinstance(data, bytes) else data:
            view = memoryview(piece).cast("B")
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError as error:
                if isinstance(error, ConnectionError) or self._fd < 0:  # closed: there is nobody left to answer
                    raise SystemExit(0) from None
                raise

    def send_aside(self, message: object) -> None:
        """Send a message that is no reply, from any thread, also from a signal handler amid a write."""
        self._aside.append(self._encode([message] if self.joins else message))
        self._write_aside()

    def _write_aside(self) -> None:
        # Who finds the lock taken leaves its message to the one who has it: that looks here again afterwards.
        while self._aside and self._writing.acquire(blocking=False):
            try:
                while self._aside:
                    self._write_whole(self._aside.popleft())
            finally:
                self._writing.release()

    def leave(self) -> None:
        """Close the channel. Idempotent."""
        fd, self._fd = self._fd, -1  # so that no thread of the function's writes to what takes its number
        if fd >= 0:
            os.close(fd)

    def become_copy(self) -> None:
        """Let go of the channel and the journal, in a forked copy of this process: they are the original's."""
        self.leave()
        self.is_copy = True
        self._buffer, self._room, self._held, self._words = memoryview(b""), 0, 0, list(NO_WORDS)
        self._aside, self._writing = deque(), allocate_lock()


def read(fd: int) -> bytes:
    """Return what the parent sent; nothing if it has closed the channel, even with words of ours unread."""
    try:
        return os.read(fd, 65536)
    except ConnectionResetError:  # so an end is told to whom still had something to say
        return b""


def _size(data: bytes | Sequence[Buffer]) -> int:
    return len(data) if isinstance(data, bytes) else sum(memoryview(piece).nbytes for piece in data)


def serve(fd: int, codec: Codec[Any], call: Callable[[Any], Any], replies: Replies, words: Any) -> None:
    """Answer lists of inputs, one input after another, until the parent closes the channel."""
    from time import monotonic

    from worker_ipc import EncodeError

    decoder = codec.decoder(sys.maxsize)  # the parent is trusted: it may end us anyway
    encode, add_result, begun = codec.encode, replies.add_result, 0
    while data := read(fd):
        messages = decoder.feed(data)
        for inputs in messages if replies.joins else (messages,):
            since = monotonic()
            for value in inputs:
                begun += 1
                words[BEGUN] = begun  # before the range is looked at: the parent sets the range, then looks at this
                if words[TO] >= begun > words[FROM]:
                    replies.add([])
                    continue
                try:
                    result = call(value)
                    if type(result) is CoroutineType:
                        result = run(result)
                    try:
                        reply = encode([result])
                    except EncodeError as error:
                        blame("the result", error)
                        raise
                except BaseException as error:  # SystemExit too: a function does not end its worker by accident
                    replies.add(describe(error))
                else:  # what a signal handler raises in here may cut a message in two: nothing can follow, we end
                    add_result(reply)
                if monotonic() - since > HOLD:
                    replies.flush()
                    since = monotonic()
            replies.flush()


def blame(what: str, error: ValueError) -> None:
    """Let it tell of the input or the result: who calls a function sees no message."""
    error.args = (str(error).replace("message[0]", what, 1).replace("this message", what, 1),)


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


_run: Callable[[Any], Any] | None = None


def run(coroutine: Any) -> Any:
    """Run a coroutine to its end, all of them on one event loop that lives as long as the child."""
    global _run
    if _run is None:
        import asyncio

        _run = asyncio.Runner().run
    return _run(coroutine)


def main() -> None:
    """Run as a script: take the channel and the orders from the environment, import, serve."""
    environ = os.environ
    fd = int(environ.pop("NODE_CHANNEL_FD"))
    environ.pop("NODE_CHANNEL_SERIALIZATION_MODE", None)
    os.set_inheritable(fd, False)
    os.set_blocking(fd, True)
    sys.path[:] = environ.pop("WORKER_SPAWN_PATH").split("\n")
    target, setup = sys.argv[1], environ.pop("WORKER_SPAWN_SETUP", "")

    from worker_spawn import _journal, _loading, _logs

    _logs.name_process(target.partition(":")[2])
    journal = _journal.attach(environ.pop("WORKER_SPAWN_JOURNAL", ""))
    pickles: ChildPickles | None = None
    if environ.pop("WORKER_SPAWN_CODEC") == "pickle":
        from worker_spawn._pickles import ChildPickles

        codec: Codec[Any] = (pickles := ChildPickles())
    else:
        from worker_ipc.codecs import JsonLines

        codec = JsonLines()
    max_message = int(environ.pop("WORKER_SPAWN_MAX_MESSAGE", MAX_MESSAGE))
    replies = Replies(fd, codec, journal, joins=pickles is None, max_message=max_message)
    os.register_at_fork(after_in_child=replies.become_copy)  # before any code of the function's
    forwarding = _logs.Forwarding(replies, int(environ.pop("WORKER_SPAWN_LOG_LEVEL", 30)))
    _logs.label_output(f"{target.partition(':')[2]}-{os.getpid()}")
    try:
        if setup and type(pending := _loading.resolve(setup)()) is CoroutineType:
            run(pending)
        function = _loading.resolve(target)
    except BaseException as error:
        if replies.is_copy:
            raise
        replies.add({"failed": describe(error)}, count=0)
        replies.flush()
        raise SystemExit(1) from None
    forwarding.settle()
    call = function if pickles is None else pickles.loading(function)
    replies.add({"ready": journal is not None}, count=0)
    replies.flush()
    try:
        serve(fd, codec, call, replies, list(NO_WORDS) if journal is None else journal.words)
    finally:
        replies.leave()  # also if threads of the function's keep this process


if __name__ == "__main__":
    main()
