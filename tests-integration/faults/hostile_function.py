"""The function of a worker whose child is hostile: it says what it is given, in place of an answer."""

import gc
import os
import stat
import sys


def channel():
    """The descriptor of the channel: the only socket that the child has."""
    return next(fd for fd in range(3, 100) if is_socket(fd))


def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def speak(lines):
    """An honest error, so that the parent has seen one; or raw lines, and then silence until the parent hangs up."""
    if not lines:
        raise ValueError("honest")
    fd = channel()
    os.write(fd, "".join(lines).encode("latin-1"))
    os.read(fd, 1)
    os._exit(0)


def note(lines):
    """Write the lines into the memory that is shared with the parent, as replies that were not sent, and die."""
    if not lines:
        raise ValueError("honest")
    (journal,) = (found for found in gc.get_objects() if type(found).__name__ == "Journal")
    data = "".join(lines).encode("latin-1")
    journal.buffer[: len(data)] = data
    journal.words[2] = len(data)
    os._exit(0)


if greeting := os.environ.get("HOSTILE_GREETING"):
    os.write(channel(), greeting.encode("latin-1"))
    os.read(channel(), 1)
    sys.exit(1)
