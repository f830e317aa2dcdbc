"""What a user calls a program, and what the operating system has to be told."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from worker_ipc import SpawnError

Command: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A program, or a program and its arguments."""

_NODE = {".js", ".mjs", ".cjs"}
_SCRIPTS = {".py", *_NODE}


def argv(command: Command) -> list[str]:
    """Return the argument vector of `command`.

    A string or path names one program; it is never split at spaces and never given to a shell. A script is run by
    what it is written for: `.py` by this interpreter, `.js`, `.mjs` and `.cjs` by the `node` on PATH.
    """
    words = _words(command)
    suffix = Path(words[0]).suffix
    if suffix == ".py":
        return [sys.executable, *words]
    if suffix in _NODE:
        return [shutil.which("node") or "node", *words]
    return words


def check_script(command: Command, folder: str | os.PathLike[str]) -> None:
    """Raise SpawnError if `command` is a script that is not there: its interpreter would start, and then die of it."""
    script = _words(command)[0]
    if Path(script).suffix in _SCRIPTS and os.path.isdir(folder) and not os.path.exists(os.path.join(folder, script)):
        missing = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), script)
        raise SpawnError(tuple(argv(command)), missing)


def title(words: Sequence[str]) -> str:
    """Return the short name of a command, for logs and errors: ``python double.py`` without the folders."""
    shown = [Path(words[0]).name, *words[1:]]
    script = Path(words[1]) if len(words) > 1 else None
    if script is not None and script.suffix in _SCRIPTS:
        shown = [script.name, *words[2:]]
    text = " ".join(shown)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _words(command: Any) -> list[str]:
    words: list[Any] = [command] if isinstance(command, (str, os.PathLike)) else _listed(command)
    for word in words:
        if not isinstance(word, (str, os.PathLike)):
            raise TypeError(f"command must be made of strings and paths, got {word!r:.100}")
    if not words or words[0] == "":
        raise ValueError(f"command must name a program, got {command!r:.100}")
    return [os.fspath(word) for word in words]


def _listed(command: Any) -> list[Any]:
    """Return the parts of what can be read again: at the start it is looked at once more."""
    if not isinstance(command, Sequence) or isinstance(command, (bytes, bytearray)):
        raise TypeError(f"command must be a program, or a list of a program and its arguments, got {command!r:.100}")
    return [*command]
