"""What a function child prints and logs, sent on with the name of its worker. Child side; imports only on demand."""

from __future__ import annotations

import os
import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TextIO

    from worker_spawn._function_child import Replies


LONGEST = 8192  # characters of a line that is held until it is whole


def name_process(title: str) -> None:
    """Let `ps` and `top` show what this child does (Linux: `comm`, 15 characters)."""
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write(title[:15])
    except OSError:
        pass  # another system: the command line already says it


def label_output(name: str) -> None:
    """Begin each line that Python code prints with ``[name]``. What C code writes is left as it is."""
    sys.stdout = Labelled(sys.stdout, f"[{name}] ")
    sys.stderr = Labelled(sys.stderr, f"[{name}] ")


class Forwarding:
    """Hands log records of `level` and above to the parent's loggers, from the moment when `logging` is imported.

    That may be with the function's module, or in the middle of an input, or never: so it looks out for that import,
    and who does not log does not pay for one. A module or a setup that configures `logging` itself, by `basicConfig`
    or with handlers on the root logger, knows what it wants: then nothing is forwarded.
    """

    def __init__(self, replies: Replies, level: int) -> None:
        self._replies = replies
        self._level = _Level(level)
        self._is_loading = True
        self._undo: Callable[[], None] | None = None
        if "logging" in sys.modules:  # whoever starts the interpreter may have imported it
            self._begin()
        else:
            sys.meta_path.insert(0, self)
        os.register_at_fork(after_in_child=self.end)  # what a copy logs is not this child's

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find `logging` where it is found without us, and begin when it is loaded: `sys.meta_path` calls this."""
        if name != "logging":
            return None
        from importlib.machinery import PathFinder

        self._look_away()
        spec = PathFinder.find_spec(name, path, target)
        loader: Any = spec and spec.loader
        if loader is not None:
            load = loader.exec_module

            def exec_module(module: object) -> None:
                load(module)
                self._begin()

            loader.exec_module = exec_module
        return spec

    def _look_away(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def _begin(self) -> None:
        import logging

        root, replies = logging.getLogger(), self._replies
        before, configure = root.level, logging.basicConfig

        class Forward(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                try:
                    text = self.format(record).encode("utf-8", "backslashreplace").decode()[:16384]
                    replies.send_aside({"logger": record.name, "level": record.levelno, "text": text})
                except Exception:
                    self.handleError(record)

        def undo() -> None:
            root.removeHandler(handler)
            if root.level is self._level:
                root.setLevel(before)
            logging.basicConfig = configure

        def basic_config(**options: Any) -> None:
            """Make room, and configure. (`logging.info` and its like call this only where the root has no handler.)"""
            if self._is_loading:
                self.end()
            configure(**options)

        self._undo = undo
        root.addHandler(handler := Forward())
        root.setLevel(self._level)
        logging.basicConfig = basic_config

    def settle(self) -> None:
        """Say that the setup is over: who has not configured `logging` by now has it forwarded for good."""
        self._is_loading = False
        if self._undo is not None:
            import logging

            if len(logging.getLogger().handlers) != 1:
                self.end()

    def end(self) -> None:
        """Forward nothing any more."""
        self._look_away()
        if self._undo is not None:
            self._undo()
            self._undo = None


class _Level(int):
    """Of the root logger, set by us: another of the same number was set by somebody on purpose."""


class Labelled:
    """A text stream that begins each line with a label; what is not about writing is the stream's own.

    A line leaves in one piece, when it is whole: so lines of several children do not mix, nor do those of threads, and
    what was printed before a child is killed is there.
    """

    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream = stream
        self._label = label
        self._held: dict[int, str] = {}  # by thread: the line that is not whole yet, without ...
        self._begun: set[int] = set()  # ... what has left of it

    def write(self, text: str) -> int:
        """Write whole lines; hold the rest, until `flush`, or until it is long."""
        thread = get_ident()
        lines, newline, rest = (self._held.pop(thread, "") + text).rpartition("\n")
        if newline:
            label = "" if thread in self._begun else self._label
            self._begun.discard(thread)
            self._stream.write(label + lines.replace("\n", "\n" + self._label) + "\n")
            self._stream.flush()
        if rest:
            self._held[thread] = rest
            if len(rest) > LONGEST:
                self._put_out(thread)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write also what is no whole line, of all threads: at its end, Python calls this."""
        for thread in tuple(self._held):
            self._put_out(thread)
        self._stream.flush()

    def _put_out(self, thread: int) -> None:
        if rest := self._held.pop(thread, ""):
            self._stream.write(rest if thread in self._begun else self._label + rest)
            self._begun.add(thread)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
