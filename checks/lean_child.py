"""A child that only wants a channel loads no event loop. Run by `nox -s wheels` with the ipc wheel alone.

Starting with anyio takes a child twice as long as starting without it, and a pool starts many children.
"""

import sys

import worker_ipc.blocking

LOOPS = {"anyio", "asyncio", "trio"}

if __name__ == "__main__":
    assert worker_ipc.blocking.open_parent
    loaded = LOOPS & sys.modules.keys()
    sys.exit(f"worker_ipc.blocking loads {', '.join(sorted(loaded))}" if loaded else None)
