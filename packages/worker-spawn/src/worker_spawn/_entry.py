"""One description, one child at a time.

A `spawned_worker` is the description of a child and the block that it lives in. Entered once more meanwhile, as by
`WorkPool(lambda: described)`, it would have two children and one memory of them: leaving would end the other's.
"""

from __future__ import annotations


class Entry:
    """What is taken before anything else, and given back when nothing else is left: entered again it says no."""

    def __init__(self) -> None:
        self._is_taken = False

    def __enter__(self) -> None:
        """Take it. RuntimeError if it is taken."""
        if self._is_taken:
            raise RuntimeError(
                "this spawned_worker is entered already: make one for each, as in WorkPool(lambda: spawned_worker(...))"
            )
        self._is_taken = True

    def __exit__(self, *_: object) -> None:
        self._is_taken = False
