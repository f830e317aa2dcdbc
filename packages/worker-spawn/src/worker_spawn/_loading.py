"""Whether this process is a child that is importing the function it is for.

A main script that names a function of its own, and starts its workers without asking `if __name__ == "__main__"`,
would start them again in each child, which imports it: children of children, until every start has timed out.
"""

from __future__ import annotations

function: str | None = None
"""The one whose module is being imported right now. Set by `_function_child.resolve`."""


def refuse_workers() -> None:
    """Raise RuntimeError while this process imports its own function."""
    if function is not None:
        raise RuntimeError(
            f"the module of {function} starts workers while a child imports it: "
            'start them only under `if __name__ == "__main__":`'
        )
