"""The parent of hostile children, in a process of its own: an audit hook can't be taken out again.

`python hostile_parent.py BACKEND`, the attacks as JSON on stdin. It prints, as JSON, what each attack came to, and
everything that happened in this process meanwhile that would be code from elsewhere: audit events, new modules.
"""

import json
import logging
import sys
from contextlib import contextmanager

import anyio

from worker_ipc import open_child
from worker_spawn import function_worker
from worker_testkit import answer, evil, read, write

WATCHED = {
    "compile",
    "exec",
    "import",
    "code.__new__",
    "ctypes.dlopen",
    "marshal.loads",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pickle.find_class",
    "subprocess.Popen",
}
HONEST = '{"jsonrpc":"2.0","id":{id},"error":{"code":1,"message":"honest"}}\n'

happened = []
watching = ()


def hook(event, arguments):
    if event in watching:
        happened.append(f"{event}: {arguments!r:.200}")


@contextmanager
def honest():
    """Expect an error that is what it seems: whatever an error needs is imported before anything is watched."""
    try:
        yield
    except Exception as error:
        if "honest" not in str(error):
            raise


@contextmanager
def watch(outcome, ignore=()):
    """Note what is raised in the block, and what is run or imported by it."""
    global watching
    before = set(sys.modules)
    watching = WATCHED.difference(ignore)
    try:
        yield
    except Exception as error:
        kind = type(error)
        outcome["raised"] = [kind.__module__.partition(".")[0], kind.__qualname__, str(error)]
        notes = getattr(error, "__notes__", [])
        told = [value for value in vars(error).values() if value is not notes]
        outcome["texts"] = [type(value).__name__ for value in told + notes]
        outcome["data"] = getattr(error, "data", None)
    finally:
        watching = ()
    outcome["happened"] = happened.copy()
    outcome["modules"] = sorted(set(sys.modules) - before)
    happened.clear()


async def request(line, outcome):
    """Ask a child, which answers with the line."""
    async with open_child(evil(read(), answer(HONEST), read(), answer(line))) as channel:
        channel.handle("double", lambda value: value * 2)
        with honest():
            await channel.request("warm")
        with watch(outcome):
            outcome["returned"] = await channel.request("x")


async def event(line, outcome):
    """Listen to a child, which says the line; what it had asked for by then was answered when `end` comes."""
    end = write('{"type":"end"}\n')
    async with open_child(evil(read(), answer(HONEST), read(), write(line), end)) as channel:
        channel.handle("double", lambda value: value * 2)
        with honest():
            await channel.request("warm")
        with watch(outcome):
            await channel.send("go")
            await channel.listen_once("end")
            outcome["returned"] = channel.statistics().kept
    outcome["answered"] = channel.statistics().sent - 2


async def call(name, line, outcome):
    """Give an input to a function, whose child says the line in place of an answer."""
    async with function_worker(f"hostile_function:{name}") as worker:
        with honest():
            await worker.execute([])
        with watch(outcome):
            outcome["returned"] = await worker.execute([line])


async def speak(line, outcome):
    await call("speak", line, outcome)


async def note(line, outcome):
    await call("note", line, outcome)


async def greet(line, outcome):
    """Start a function worker, whose child says the line in place of its greeting."""
    with honest():
        async with function_worker("hostile_function:speak") as worker:
            await worker.execute([])
    with watch(outcome, ignore={"os.fork", "os.posix_spawn", "subprocess.Popen"}):  # how the child starts
        async with function_worker("hostile_function:speak", env={"HOSTILE_GREETING": line}):
            outcome["returned"] = None


ATTACKS = {"request": request, "event": event, "speak": speak, "note": note, "greet": greet}


async def main(attacks):
    outcomes = []
    for kind, line in attacks:
        outcome = {}
        with anyio.fail_after(20):
            await ATTACKS[kind](line, outcome)
        outcomes.append(outcome)
    return outcomes


if __name__ == "__main__":
    logging.getLogger().addHandler(logging.NullHandler())  # a traceback that is printed parses its own source
    sys.addaudithook(hook)
    json.dump(anyio.run(main, json.load(sys.stdin), backend=sys.argv[1]), sys.stdout)
