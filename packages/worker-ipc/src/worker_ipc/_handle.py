"""The process handle: how a death is seen, how signals are sent, how the status is collected. No event loop.

A handle has a descriptor that becomes readable when the process has ended. On Linux that is a pidfd. Where the kernel
or a sandbox refuses one, it is a pipe that a waiting thread closes: the same to whoever watches it.

Two promises hold for both:

* **The right process.** A pid is a number that can be used again once its process was waited for. A signal goes through
  the pidfd, or is sent only while the process is known to be unreaped, so that the number can't mean another one.
* **Never a hang.** If someone else collected the status (`waitpid(-1)`, SIGCHLD ignored), the death is seen all the
  same, and `returncode` is None: unknown.
"""

import errno
import os
import signal
import threading
from contextlib import suppress

from worker_ipc._descriptors import Owned, lift, make_pipe

__all__ = ("Handle", "open_handle")

# ENOSYS, EINVAL: an old kernel. EPERM, EACCES: a sandbox. ESRCH: it is gone already, and was reaped by someone else.
_NO_PIDFD = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EACCES, errno.ESRCH})


_abandoned: "list[Handle]" = []


def open_handle(pid: int) -> "Handle":
    """Open a handle on a child that nobody has waited for yet. Raises `OSError`, e.g. when descriptors run out."""
    _reap_abandoned()
    if hasattr(os, "pidfd_open"):
        try:
            return Handle(pid, Owned(lift(os.pidfd_open(pid))), is_pidfd=True)
        except OSError as error:
            if error.errno not in _NO_PIDFD:
                raise
    return Handle(pid, _close_on_exit(pid), is_pidfd=False)


class Handle:
    """One child process, from just after its start until it was reaped.

    `descriptor` is readable once the process has ended; then `poll` reaps it, and `returncode` is its status as of
    `subprocess` (negative: the signal), or None if somebody else took it.
    """

    __slots__ = ("_is_pidfd", "_which", "descriptor", "pid", "reaped", "returncode")

    def __init__(self, pid: int, descriptor: Owned, *, is_pidfd: bool) -> None:
        self.pid: int = pid
        self.descriptor: Owned = descriptor
        self.reaped: bool = False
        self.returncode: int | None = None
        self._is_pidfd = is_pidfd
        self._which = (os.P_PIDFD, descriptor.number) if is_pidfd else (os.P_PID, pid)

    def poll(self) -> bool:
        """Tell whether the process is dead and reaped; reap it if it just died. What is left of its group is killed."""
        if self.reaped:
            return True
        try:
            if os.waitid(*self._which, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
            # It is a zombie, which keeps its number (and its group's) from being used again: the last safe moment.
            self._signal_group(signal.SIGKILL)
            self._collect()
        except ChildProcessError:
            pass  # somebody else waited for it, or SIGCHLD is ignored
        self.reaped = True
        return True

    def _collect(self) -> None:
        result = os.waitid(*self._which, os.WEXITED | os.WNOHANG)
        if result is not None:
            self.returncode = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def signal(self, number: int) -> None:
        """Send a signal to the process alone. A dead one is left alone."""
        if self.reaped:
            return
        try:
            if self._is_pidfd:
                signal.pidfd_send_signal(self.descriptor.number, number)
            elif self._is_unreaped():
                os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # it is dead; or it became another user (set-uid), and then it is not ours to kill

    def terminate(self) -> None:
        """SIGTERM, and SIGCONT in case it is stopped: a stopped process hears nothing but SIGKILL."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)

    def kill_group(self) -> None:
        """SIGKILL the process and everything that stayed in its group."""
        if self.reaped:
            return
        if self._is_unreaped():
            self._signal_group(signal.SIGKILL)
        self.signal(signal.SIGKILL)  # also if it left its own group

    def close(self) -> None:
        """Close the descriptor. A process that could not be killed is looked at again when the next one is started."""
        if self.reaped:
            self.descriptor.close()
        else:
            _abandoned.append(self)

    def _is_unreaped(self) -> bool:
        try:
            os.waitid(*self._which, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _signal_group(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _close_on_exit(pid: int) -> Owned:
    """Return a descriptor that reaches end of file when the process has ended, by a thread that waits for it."""
    read_end, write_end = make_pipe()

    def wait() -> None:
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # NOWAIT: the handle reaps, in `poll`
        with suppress(BrokenPipeError):  # the handle looked by itself, and is closed already
            os.write(write_end.number, b".")  # and not only closed: a forked copy of this process may hold it too
        write_end.close()

    try:
        threading.Thread(target=wait, name=f"worker_ipc: wait for process {pid}", daemon=True).start()
    except RuntimeError as error:  # "can't start new thread"
        read_end.close()
        write_end.close()
        raise OSError(errno.EAGAIN, str(error)) from error
    return read_end


def _reap_abandoned() -> None:
    for handle in _abandoned.copy():
        if handle.poll():
            handle.close()
            _abandoned.remove(handle)
