"""What an error ends: the one input whose code raised it, or the task and the program around it.

A cancellation may be nobody's: on asyncio, `await task` raises CancelledError where somebody cancelled that task, and
many client libraries let it out. To the pool it is an error of the code that raised it, and not its own end.

It may also be raised in place of one of ours. A cancel scope knows only its own, and lets it pass: whether it is
foreign is asked outside of the scope, where nobody has asked for ours any more.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Generator


def is_foreign(error: BaseException) -> bool:
    """Tell whether `error` is a cancellation that this task was not asked for. To be called where it was caught."""
    if not _is_asyncios(error):
        return False  # trio's are raised by its own scopes alone
    task = _current_task()
    if task is None:  # a callback of the event loop, or trio: who could have been asked?
        return True
    return not task.cancelling() and anyio.current_effective_deadline() > -float("inf")


def is_of_one(error: BaseException) -> bool:
    """Tell whether `error` may end an input and nothing else. A group may, if all that is in it may."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_of_one, cast("Any", error).exceptions))
    return isinstance(error, Exception | SystemExit | GeneratorExit)


def is_survivable(error: BaseException) -> bool:
    """Tell whether whoever ran the code that raised `error` may go on: it ends an input, or less, and not the task."""
    return is_of_one(error) or is_foreign(error)


def is_failure(error: BaseException) -> bool:
    """Tell whether `error` is one of the code that raised it, and not the end of this task or of the program."""
    return isinstance(error, Exception) or is_foreign(error)


def is_of_call(error: BaseException) -> bool:
    """Tell whether `error` is one of a function that is not async: nobody asks that to end by a cancellation."""
    return isinstance(error, Exception) or _is_asyncios(error)


def told_of_source(error: BaseException) -> Exception:
    """Return what a source raised as what its call raises."""
    if isinstance(error, Exception):
        return error
    told = RuntimeError("the source raised a cancellation of a task that is not ours")
    told.__cause__ = error
    return told


@contextmanager
def foreign_dropped() -> Generator[None]:
    """Around a scope: drop what was raised in place of its cancellation."""
    try:
        yield
    except BaseException as error:
        if not is_foreign(error):
            raise


def times_asked() -> int:
    """Return how many cancellations have been asked of this task, as asyncio counts them. trio does not."""
    task = _current_task()
    return 0 if task is None else task.cancelling()


def absolve(asked: int) -> None:
    """Go on, behind a shield, after a cancellation: as if only so many had been asked for.

    Else a scope that was opened before it, and is left behind the shield, would take the cancellation for one that is
    not anyio's, and let it pass.
    """
    task = _current_task()
    while task is not None and task.cancelling() > asked:
        task.uncancel()


def _is_asyncios(error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def _current_task() -> Any:
    asyncio = sys.modules.get("asyncio")
    try:
        return None if asyncio is None else asyncio.current_task()
    except RuntimeError:  # it is loaded, and does not run here
        return None
