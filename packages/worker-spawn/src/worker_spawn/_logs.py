"""What a function child prints and logs, sent on with the name of its worker. Child side; imports only on demand."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import TextIO

    from worker_spawn._function_child import Replies


def label_output(name: str) -> None:
    """Begin each line that Python code prints with ``[name]``. What C code writes is left as it is."""
    sys.stdout = Labelled(sys.stdout, f"[{name}] ")
    sys.stderr = Labelled(sys.stderr, f"[{name}] ")


def forward_records(replies: Replies, level: int) -> None:
    """Hand log records of `level` and above to the parent's loggers, if the function uses `logging` at all."""
    if "logging" not in sys.modules:
        return
    import logging

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                text = self.format(record).encode("utf-8", "backslashreplace").decode()[:16384]
                replies.send_aside({"logger": record.name, "level": record.levelno, "text": text})
            except Exception:
                self.handleError(record)

    root = logging.getLogger()
    if not root.handlers:  # a module that configured its own logging knows what it wants
        root.addHandler(handler := Forward())
        root.setLevel(level)
        os.register_at_fork(after_in_child=lambda: root.removeHandler(handler))  # what a copy logs is not this child's


class Labelled:
    """A text stream that begins each line with a label; everything but `write` is the stream's own."""

    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream = stream
        self._label = label
        self._fresh = True

    def write(self, text: str) -> int:
        """Write `text` in one piece, so that lines of several children do not mix."""
        if not text:
            return 0
        head = self._label if self._fresh else ""
        self._fresh = text.endswith("\n")
        body = text[:-1] if self._fresh else text
        self._stream.write(head + body.replace("\n", "\n" + self._label) + text[len(body) :])
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
