"""No orphan: the kernel kills the child when its parent is gone, whatever program runs in the child.

The *lifeline* is a pipe. The parent alone holds the write end and never writes; the child holds the read end and
never reads. The parent asks the kernel to report activity on the read end (`O_ASYNC`) to the child's process group
(`F_SETOWN`) as `SIGKILL` (`F_SETSIG`). However the parent ends (SIGKILL, `os._exit`, a crash, `execv`), its write end
is closed by the kernel, that is activity, and the group is dead within milliseconds: asleep, stopped, busy in C with
the GIL held, Python or not. No code runs in the child, and nothing has to be imported there.

Why not `PR_SET_PDEATHSIG`: it must be called in the child (a `preexec_fn` forbids `vfork` and costs 13 ms for a
300 MB parent), it fires when the *thread* that spawned ends, it is cleared by a set-uid exec, and it reaches one
process, not its group. The lifeline has none of these traps, and its owner is the kernel's own reference to the
group: a process id that is used again can't be hit.

What is not covered, plainly:

* The window between fork and arming: the exec and four `fcntl` calls, 0.3 ms or so, under 1 ms on a busy machine. A
  parent that is killed inside it leaves a child that only sees its channel, or its stdin, at end of file.
* A group whose members all closed the descriptor (`sudo` does), and a grandchild that left the group (`setsid`).
* Systems other than Linux, and sandboxes that refuse the `fcntl`: `arm` says False. There the child's own end
  must see to it: `open_parent` ends the process when the channel reaches end of file, by a watchdog thread if
  need be, which can't act while C code holds the GIL.
"""

import fcntl
import os
import signal
import sys

__all__ = ("SUPPORTED", "arm")

SUPPORTED = sys.platform == "linux" and hasattr(fcntl, "F_SETSIG")


def arm(read_end: int, group: int) -> bool:
    """Have the kernel SIGKILL process group `group` when the last write end of this pipe is closed.

    The settings belong to the open pipe, not to the number: the copy that the child inherited is armed by this call
    in the parent, and stays armed when the parent then closes its own copy.
    """
    try:
        fcntl.fcntl(read_end, fcntl.F_SETOWN, -group)
        fcntl.fcntl(read_end, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(read_end, fcntl.F_SETFL, fcntl.fcntl(read_end, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        return False
    return True
