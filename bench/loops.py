"""The three event loops under which async code is measured, by name."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

LOOPS = ("asyncio", "uvloop", "trio")


def run_on(loop: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """`anyio.run` on the loop of that name."""
    if loop == "trio":
        return anyio.run(function, *args, backend="trio")
    return anyio.run(function, *args, backend_options={"use_uvloop": loop == "uvloop"})
