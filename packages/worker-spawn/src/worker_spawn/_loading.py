"""How a child imports the function it is for, and whether this process is one that is doing it right now.

A main script that names a function of its own, and starts its workers without asking `if __name__ == "__main__"`,
would start them again in each child, which imports it: children of children, until every start has timed out.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_function: str | None = None  # the one whose module is being imported


def resolve(name: str) -> Callable[..., Any]:
    """Import ``package.module:function`` (dots after the colon reach into classes)."""
    global _function
    from importlib import import_module

    module, _, path = name.partition(":")
    _function = name
    try:
        found: Any = import_module(module)
    finally:
        _function = None
    for part in path.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} must be a function, got {found!r:.100}")
    return found  # type: ignore[no-any-return]


def refuse_workers() -> None:
    """Raise RuntimeError while this process imports its own function."""
    if _function is not None:
        raise RuntimeError(
            f"the module of {_function} starts workers while a child imports it: "
            'start them only under `if __name__ == "__main__":`'
        )
