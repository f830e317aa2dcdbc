"""Ctrl-C belongs to the parent: a child in the same process group stays calm, and ends when its parent does."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def ignore_interrupts() -> Callable[[], None]:
    """Ignore SIGINT if a terminal would send it to us too; return a function that undoes it.

    Children of `open_child` lead a group of their own, which no Ctrl-C reaches: nothing is done for them. Nothing is
    done either where the program has a handler of its own, or in another thread than the main one.
    """
    if os.getpgrp() == os.getpid():
        return _nothing
    import signal

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return _nothing
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread
        return _nothing

    def restore() -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    return restore


def _nothing() -> None:
    return None
