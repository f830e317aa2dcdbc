"""Cancel a coroutine at its N-th suspension, for every N: proof that cancellation is safe at every await.

    async def body():
        async with open_child(command) as channel:
            await channel.request("add", [1, 2])

    await sweep_cancellation(body)          # on the loop this runs in; run it on both

It is the idea of a database that fails its n-th allocation for n = 1, 2, 3 ... until a run survives, applied to
suspension points. It sees the suspensions of the task that awaits the body, not of tasks that the body starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from typing import Any

T = TypeVar("T")

When: TypeAlias = Literal["before", "after"]
"""Whether a cancellation comes before a suspended operation is done, or just after."""


class CancelAt(Generic[T]):
    """Awaits `awaitable` and cancels `scope` at the `point`-th suspension (1 is the first).

    `when="before"`: the cancellation comes while the task is about to sleep there. `when="after"`: it comes in the
    step in which the task was woken, so that the event it waited for has happened already: cancellation races
    with success. `suspensions` counts what was passed; `fired` tells whether the point was reached.
    """

    def __init__(self, awaitable: Awaitable[T], scope: anyio.CancelScope, point: int, when: When = "before") -> None:
        self._awaitable = awaitable
        self._scope = scope
        self._point = point
        self._when = when
        self.suspensions: int = 0

    @property
    def fired(self) -> bool:
        """Whether the awaitable got as far as the chosen point."""
        return self.suspensions >= self._point

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._awaitable.__await__()
        answer: Any = None
        error: BaseException | None = None
        while True:
            try:
                request = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.suspensions += 1
            self._cancel_if_due("before")
            answer = error = None
            try:
                answer = yield request
            except BaseException as exc:  # whatever the loop throws in belongs to the awaitable
                error = exc
            self._cancel_if_due("after")

    def _cancel_if_due(self, now: When) -> None:
        if self._when == now and self.suspensions == self._point:
            self._scope.cancel()


@dataclass(frozen=True, slots=True)
class Cut(Generic[T]):
    """One run of a sweep. `finished`: the body returned `result` although it was cancelled; else it was unwound."""

    point: int
    when: When
    finished: bool
    result: T | None


async def sweep_cancellation(
    make_body: Callable[[], Awaitable[T]],
    *,
    when: Sequence[When] = ("before", "after"),
    check: Callable[[Cut[T]], Awaitable[object]] | None = None,
    timeout: float = 10,
    limit: int = 1000,
) -> list[Cut[T]]:
    """Run `make_body()` again and again, cancelled one suspension later each time, until one run is not reached.

    After each run `check(cut)` is awaited: there the caller proves that everything still works. Neither a run nor
    its check may take more than `timeout` seconds: a cancelled body that hangs is a defect. An error of either
    leaves with a note that says which point it was. A body with more than `limit` suspensions is an error.
    Returns the runs in order; the last of each kind is the one that the cancellation did not reach.
    """
    return [cut for mode in when for cut in await _sweep(make_body, mode, check, timeout, limit)]


async def _sweep(
    make_body: Callable[[], Awaitable[T]],
    when: When,
    check: Callable[[Cut[T]], Awaitable[object]] | None,
    timeout: float,
    limit: int,
) -> list[Cut[T]]:
    cuts: list[Cut[T]] = []
    for point in range(1, limit + 1):
        try:
            with anyio.fail_after(timeout):
                cut, fired = await _run(make_body, point, when)
            if check is not None:
                with anyio.fail_after(timeout):
                    await check(cut)
        except BaseException as error:
            error.add_note(f"when cancelled {when} it slept at suspension {point}")
            raise
        cuts.append(cut)
        if not fired:
            return cuts
    raise AssertionError(f"still not at the end after {limit} suspensions")


async def _run(make_body: Callable[[], Awaitable[T]], point: int, when: When) -> tuple[Cut[T], bool]:
    finished, result = False, None
    scope = anyio.CancelScope()
    body = CancelAt(make_body(), scope, point, when)
    with scope:
        result = await body
        finished = True
    return Cut(point, when, finished, result), body.fired
