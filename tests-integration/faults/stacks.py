"""The three ways in which a child is a worker, behind one face: `make(stack)()` runs `fault_functions.run`."""

from pathlib import Path
from typing import Any

from worker_ipc import ParentChannel
from worker_spawn import function_worker, spawned_worker

CHILD = str(Path(__file__).with_name("fault_child.py"))
FUNCTION, REQUEST, CONVERSATION = "function", "request", "conversation"
STACKS = [FUNCTION, REQUEST, CONVERSATION]


async def converse(channel: ParentChannel, order: Any) -> Any:
    """Ask with an event, and wait for the event that answers."""
    done = channel.listen_once("done")
    await channel.send("run", {"order": order})
    return (await done)["result"]


async def until_ready(channel: ParentChannel) -> None:
    """Wait for the child's first word."""
    await channel.listen_once("ready")


def make(stack: str, **options: Any) -> Any:
    """Return a worker context for `WorkPool`."""
    options.setdefault("stderr", "capture")
    if stack == FUNCTION:
        return function_worker("fault_functions:run", **options)
    execute: Any = "run" if stack == REQUEST else converse
    return spawned_worker(CHILD, execute=execute, init=until_ready, **options)
