"""The work every contender does: double the input, which is the original's own example.

The work itself costs nothing on purpose. What is left is what a library adds to each input.
"""

from collections.abc import Iterable


def double(data: str) -> str:
    """The function that every contender runs in its worker processes."""
    return data * 2


def make_inputs(count: int) -> list[str]:
    """`count` different inputs; as a JSON message each is about 50 bytes."""
    return [f"item-{number:07d}" for number in range(count)]


def check(inputs: list[str], results: Iterable[str]) -> None:
    """Every input answered, exactly once and rightly, in whatever order."""
    if sorted(results) != sorted(double(item) for item in inputs):
        raise AssertionError("a contender gave wrong, missing or doubled results")
