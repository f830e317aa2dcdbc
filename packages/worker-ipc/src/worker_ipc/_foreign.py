"""Telling a cancellation of ours from one that only came along.

On asyncio, awaiting a task that somebody else cancelled raises the same CancelledError as being cancelled. In the
user's function that is a failure like any other; taken for a cancellation of ours, it would end whoever runs it.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from anyio import current_effective_deadline, get_cancelled_exc_class


def is_foreign(error: BaseException) -> bool:
    """Tell whether this is the loop's cancellation, and nobody cancels the task that runs. Ask where it was caught."""
    if not isinstance(error, get_cancelled_exc_class()) or current_effective_deadline() == -math.inf:
        return False
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False  # trio's can't be had but by a cancellation
    task = asyncio.current_task()
    return task is None or not task.cancelling()
