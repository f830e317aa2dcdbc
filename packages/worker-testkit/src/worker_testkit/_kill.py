"""A child killed between two steps of a test, so that the event loop can't have noticed."""

from __future__ import annotations

import os
import signal


def kill_unseen(pid: int) -> None:
    """SIGKILL a child of this process and return when it is dead. It is not reaped, and the loop gets no turn."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
