"""Tests for code that owns processes: leaks are named, every cancellation point is swept.

Installed, it is a pytest plugin (see `_plugin.py`): the fixture `anyio_backend` for asyncio and trio, the leak check,
the record of proven faults. Imported, it is these tools.
"""

from ._cancel import CancelAt as CancelAt
from ._cancel import Cut as Cut
from ._cancel import When as When
from ._cancel import sweep_cancellation as sweep_cancellation
from ._doomed import DoomedParent as DoomedParent
from ._doomed import doomed_parent as doomed_parent
from ._evil import MODES as MODES
from ._evil import answer as answer
from ._evil import evil as evil
from ._evil import exit_with as exit_with
from ._evil import kill_self as kill_self
from ._evil import pause as pause
from ._evil import read as read
from ._evil import serve as serve
from ._evil import step as step
from ._evil import write as write
from ._kill import kill_unseen as kill_unseen
from ._leaks import LeakError as LeakError
from ._leaks import become_subreaper as become_subreaper
from ._leaks import check_leaks as check_leaks
from ._procfs import Child as Child
from ._procfs import children as children
from ._procfs import descriptors as descriptors
from ._procfs import state as state
from ._tasks import run_without_stray_tasks as run_without_stray_tasks

__all__ = [
    "MODES",
    "CancelAt",
    "Child",
    "Cut",
    "DoomedParent",
    "LeakError",
    "When",
    "answer",
    "become_subreaper",
    "check_leaks",
    "children",
    "descriptors",
    "doomed_parent",
    "evil",
    "exit_with",
    "kill_self",
    "kill_unseen",
    "pause",
    "read",
    "run_without_stray_tasks",
    "serve",
    "state",
    "step",
    "sweep_cancellation",
    "write",
]
