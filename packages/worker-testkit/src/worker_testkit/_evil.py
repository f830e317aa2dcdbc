"""Commands of children that misbehave: `open_child(evil("garbage"))`.

A name of `MODES` is a ready-made script; or give steps of your own: `evil(read(), write("[" * 100), exit_with(3))`.
After its last step a child reads and ignores until its parent hangs up. It writes raw bytes to the descriptor that
NODE_CHANNEL_FD names, or, without one, to stdout.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TypeAlias

Step: TypeAlias = tuple[object, ...]

READY = '{"type":"ready"}\n'
REPLY = '{"jsonrpc":"2.0","id":{id},"result":"first"}\n'
SECOND = '{"jsonrpc":"2.0","id":{id},"result":"second"}\n'


def write(text: str, times: int = 1) -> Step:
    """Write the bytes of `text` (a character of Latin-1 is a byte)."""
    return "write", text, times


def read(times: int = 1) -> Step:
    """Read whole lines from the parent."""
    return "read", times


def answer(text: str) -> Step:
    """Write `text` with {id} replaced by the id of the request read last."""
    return "answer", text


def serve() -> Step:
    """Be honest from here on: answer each request with the word "honest"."""
    return ("serve",)


def kill_self(number: int = signal.SIGKILL) -> Step:
    """Send itself a signal."""
    return "kill", int(number)


def exit_with(code: int) -> Step:
    """End at once, without any clean-up."""
    return "exit", code


def pause() -> Step:
    """Do nothing for ever: neither read nor end."""
    return ("pause",)


def step(name: str, *arguments: object) -> Step:
    """Any other step: a method `do_<name>` of `_evil_program.py`."""
    return name, *arguments


# Every way in which a child misbehaves, by name.
MODES: dict[str, tuple[Step, ...]] = {
    # what it says is no message
    "garbage": (write("garbage\n" + READY), serve()),
    "half-line": (write('{"type":"re'), exit_with(0)),
    "endless-line": (step("flood", "x"),),
    "deep": (write("[", 1_000_000), write("\n"), serve()),
    "bad-utf8": (write('{"type":"ready","data":"\xff\xfe"}\n'), serve()),
    "overlong-utf8": (write('{"type":"ready","data":"\xc0\xaf"}\n'), serve()),
    "nul": (write('{"type":"ready","data":"\0"}\n'), serve()),
    "bom": (write("\xef\xbb\xbf" + READY), serve()),
    "not-an-object": (write("[1,2,3]\n"), serve()),
    "nan": (write('{"type":"ready","data":NaN}\n'), serve()),
    "infinite": (write('{"type":"ready","data":1e999}\n'), serve()),
    "huge-integer": (write('{"type":"ready","data":18446744073709551616}\n'), serve()),
    "many-digits": (write('{"type":"ready","data":'), write("9" * 5000), write("}\n"), serve()),
    # what it says is a message, said strangely
    "blank-lines": (write("\n\r\n" + READY + "\n\n"), serve()),
    "crlf": (write(READY.replace("\n", "\r\n")), serve()),
    "duplicate-keys": (write('{"type":"first","type":"ready","data":1,"data":2}\n'), serve()),
    "drip": (step("drip", READY + '{"type":"after","data":"one byte at a time"}\n'), serve()),
    "ready+message": (write(READY + '{"type":"after","data":"glued"}\n'), serve()),
    "ready-twice": (write(READY + READY), serve()),
    "tiny-objects": (write('{"type":"ready","data":['), write("[],", 2_000_000), write("[]]}\n"), serve()),
    # a message nobody asked for
    "unknown-type": (write('{"type":"nobody-knows-me"}\n' + READY), serve()),
    "no-type": (write('{"data":1}\n' + READY), serve()),
    "type-is-a-number": (write('{"type":7}\n' + READY), serve()),
    "node-message": (write('{"cmd":"NODE_HANDLE_ACK"}\n{"cmd":"NODE_FOO"}\n' + READY), serve()),
    "unknown-id": (write('{"jsonrpc":"2.0","id":987654,"result":1}\n' + READY), serve()),
    "strange-id": (write('{"jsonrpc":"2.0","id":{"a":[]},"result":1}\n' + READY), serve()),
    "broken-envelope": (write(READY), read(), answer('{"jsonrpc":"2.0","id":{id}}\n'), serve()),
    "reply-twice": (write(READY), read(), answer(REPLY + SECOND), serve()),
    "chatter": (write(READY), write('{"jsonrpc":"2.0","id":1000000,"result":"unasked"}\n', 500), serve()),
    "reply-then-garbage": (write(READY), read(), answer(REPLY + "garbage\n"), serve()),
    # floods
    "spam": (write(READY), step("flood", '{"type":"spam","data":"01234567"}\n')),
    "spam-ids": (write(READY), step("flood", '{"jsonrpc":"2.0","id":1000000,"result":1}\n')),
    "progress": (write(READY), read(), step("flood", '{"type":"progress","data":1}\n')),
    "banner": (
        step("print", 1, "#" * 1000 + "\n", 1000),
        step("print", 2, "!" * 1000 + "\n", 1000),
        write(READY),
        serve(),
    ),
    "stdio-flood": (write(READY), step("print", 1, "#" * 10_000, 2000), step("print", 2, "!" * 10_000, 2000), serve()),
    "descriptors": (*(step("descriptors", 4, '{"type":"spam"}\n') for _ in range(50)), write(READY), serve()),
    # silence
    "deaf": (write(READY), pause()),
    "never-ready": (pause(),),
    "close-but-live": (write(READY), step("close"), pause()),
    "close-when-asked": (write(READY), read(), step("close"), pause()),
    "stopped": (write(READY), read(), kill_self(signal.SIGSTOP), serve()),
    "stubborn": (step("ignore", int(signal.SIGTERM)), write(READY), read(), pause()),
    "spinning": (write(READY), read(), step("spin")),
    # death
    "exit-at-once": (exit_with(0),),
    "die-at-once": (kill_self(),),
    "exit-when-asked": (write(READY), read(), exit_with(0)),
    "die-when-asked": (write(READY), read(), kill_self()),
    "die-after-reply": (write(READY), read(), answer(REPLY), exit_with(1)),
    "die-amid-reply": (write(READY), read(), answer('{"jsonrpc":"2.0","id":{id},"resu'), kill_self()),
    "big-then-exit": (write('{"type":"big","data":"'), write("x", 1_000_000), write('"}\n' + READY), exit_with(0)),
    "fork-then-die": (write(READY), read(), step("fork"), exit_with(3)),
}


def evil(first: str | Step, *steps: Step) -> list[str]:
    """Return the command of a child that follows a script: the name of one of `MODES`, or steps of your own."""
    script = MODES[first] if isinstance(first, str) else (first, *steps)
    program = Path(__file__).with_name("_evil_program.py")
    return [sys.executable, "-I", "-S", str(program), json.dumps(script)]
