"""What `spawned_worker` may be told: an option of a wrong kind is refused by name, before there is a child.

Without this, the first start or the first input would trip over it, in code that knows no option by its name.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from worker_ipc import open_child, open_stream

if TYPE_CHECKING:
    from collections.abc import Collection

    from worker_ipc.codecs import Codec

Stdio: TypeAlias = Literal["inherit", "devnull"] | int | IO[Any]


class ProcessOptions(TypedDict, total=False):
    """What any child of `worker_ipc` may be given; `worker_ipc.open_child` says what each means."""

    max_message: int
    cwd: str | os.PathLike[str] | None
    env: Mapping[str, str] | None
    inherit_env: bool | Collection[str]
    stderr: Literal["forward", "capture"] | Stdio


class ChildOptions(ProcessOptions, total=False):
    """What `open_child` takes beside."""

    codec: Codec[Any] | None
    mailbox: int
    stdin: Stdio
    stdout: Stdio


def is_ours(open: object) -> bool:
    """Tell whether the options are those of `worker_ipc`: another `open` has its own, on another machine perhaps."""
    return open is open_child or open is open_stream


def check_functions(open: object, execute: object, **hooks: object) -> None:
    """Refuse what can't be called, and a request without a channel. Whether it is async shows when it is called."""
    if not callable(open):
        raise TypeError(f"open must be a function such as open_child or open_stream, got {open!r:.100}")
    if not (isinstance(execute, str) or callable(execute)):
        raise TypeError(f"execute must be an async function or the name of a method, got {execute!r:.100}")
    if execute == "":
        raise ValueError("execute must be an async function or the name of a method, got ''")
    if isinstance(execute, str) and open is open_stream:
        raise ValueError(f"execute={execute!r} is a request, and those need a channel: open=open_child")
    for name, hook in hooks.items():
        if not (hook is None or callable(hook)):
            raise TypeError(f"{name} must be an async function of the channel, got {hook!r:.100}")


def check_options(open: Any, argv: list[str], options: dict[str, Any]) -> None:
    """Refuse options that `open` does not have, and those of a wrong kind if it is one of ours."""
    try:
        inspect.signature(open).bind(argv, **options)  # a typo in an option is an error here and now
    except TypeError as error:
        raise TypeError(f"spawned_worker() {error}") from None
    if not is_ours(open):
        return
    cwd, env = options.get("cwd"), options.get("env")
    if not (cwd is None or isinstance(cwd, (str, os.PathLike))):
        raise TypeError(f"cwd must be a path, got {cwd!r:.100}")
    if not (env is None or isinstance(env, Mapping)):
        raise TypeError(f"env must be a mapping of names to values, got {env!r:.100}")
    check_codec(options.get("codec"))


def check_codec(codec: object) -> None:
    """Refuse what is no codec, a class of codecs included, in the words of `worker_ipc`, which looks at the start."""
    is_codec = hasattr(codec, "encode") and hasattr(codec, "decoder") and not isinstance(codec, type)
    if not (codec is None or is_codec):
        raise TypeError(f"codec must be a codec, such as JsonLines(), got {codec!r:.100}")


def check_transcript(path: object, codec: object) -> None:
    """Refuse what names no file, and what is no codec: whatever `open` is, a transcript is a codec around another."""
    if not isinstance(path, (str, os.PathLike)):  # open() takes a number, too: for a descriptor, which it then closes
        raise TypeError(f"transcript must be the path of a file, got {path!r:.100}")
    check_codec(codec)


def exception_classes(keep_after: Any) -> tuple[type[Exception], ...]:
    """Return one class, or what an iterable of classes holds, as what `isinstance` takes. TypeError for all else.

    A cancellation or Ctrl-C can't be kept after: wherever it arrives, the child is left in the middle of its answer.
    """
    if isinstance(keep_after, (type, str)) or not hasattr(keep_after, "__iter__"):
        keep_after = (keep_after,)
    classes = tuple(keep_after)  # once: it may be an iterator
    for kind in classes:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"keep_after must be a subclass of Exception, or an iterable of them, got {kind!r:.100}")
    return classes
