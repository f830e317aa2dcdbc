"""What a user calls a program, and what the operating system has to be told."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Command: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A program, or a program and its arguments."""

_NODE = {".js", ".mjs", ".cjs"}


def argv(command: Command) -> list[str]:
    """Return the argument vector of `command`.

    A string or path names one program; it is never split at spaces and never given to a shell. A script is run by
    what it is written for: `.py` by this interpreter, `.js`, `.mjs` and `.cjs` by the `node` on PATH.
    """
    words = [os.fspath(command)] if isinstance(command, (str, os.PathLike)) else [os.fspath(word) for word in command]
    if not words:
        raise ValueError("command must name a program, got an empty sequence")
    suffix = Path(words[0]).suffix
    if suffix == ".py":
        return [sys.executable, *words]
    if suffix in _NODE:
        return [shutil.which("node") or "node", *words]
    return words


def title(words: Sequence[str]) -> str:
    """Return the short name of a command, for logs and errors: ``python double.py`` without the folders."""
    shown = [Path(words[0]).name, *words[1:]]
    script = Path(words[1]) if len(words) > 1 else None
    if script is not None and script.suffix in {".py", *_NODE}:
        shown = [script.name, *words[2:]]
    text = " ".join(shown)
    return text if len(text) <= 80 else f"{text[:79]}…"
