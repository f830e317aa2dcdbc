"""How a program that says `anyio.run(main)` is run on the loop that the test chooses."""

import sys

_PROGRAM = """
import functools, runpy, sys, anyio
_, backend, *sys.argv = sys.argv
anyio.run = functools.partial(anyio.run, backend=backend)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def python_on(backend: str) -> list[str]:
    """Return the command to which the program's path and its arguments are added. A warning ends the program."""
    return [sys.executable, "-W", "error", "-c", _PROGRAM, backend]
