"""A hostile child has nothing but the wire, and what comes from there is data: never code, never the name of code."""

import base64
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

PARENT = Path(__file__).with_name("hostile_parent.py")

TRAP = """
import os
from pathlib import Path

Path(os.environ["TRAP"]).touch()  # whoever imports this has walked into it

class Sprung(Exception):
    pass
"""


class Bomb:
    def __reduce__(self):
        return os.system, ("touch $TRAP",)


PICKLED = pickle.dumps(Bomb(), protocol=0).decode("latin-1")
MODERN = base64.b64encode(pickle.dumps(Bomb())).decode()

# What other libraries have read as instructions, each once: a class to make, a module to import, a call to repeat.
ORDERS = [
    {"type": "builtins.eval", "traceback": "__import__('trap')"},
    {"type": "os.system", "args": ["touch $TRAP"], "traceback": ""},
    {"type": "trap.Sprung", "module": "trap", "__class__": "trap.Sprung", "__module__": "trap"},
    {"exc_type": "Sprung", "exc_module": "trap", "exc_message": ["x"]},
    {"__reduce__": ["os.system", ["touch $TRAP"]], "__reduce_ex__": 2, "__setstate__": {}},
    {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["touch $TRAP"]}], "py/object": "trap.Sprung"},
    {"$type": "trap.Sprung", "$": "trap:Sprung", "@type": "trap.Sprung", "!!python/object/apply:os.system": ["true"]},
    {"pickle": PICKLED, "base64": MODERN, "__pickle__": MODERN},
    "{0.__class__.__init__.__globals__} %(trap)s ${trap} {trap!r}",
    PICKLED,
]


def line(message):
    return json.dumps(message) + "\n"


def reply(**members):
    return line({"jsonrpc": "2.0", "id": "ID", **members}).replace('"ID"', "{id}")


def error(code, message, data):
    return reply(error={"code": code, "message": message, "data": data})


def asked(method, params):
    return line({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})


REMOTE = ["worker_ipc", "RemoteError"]
BROKEN = ["worker_ipc", "ProtocolError"]
FUNCTION = ["worker_spawn", "FunctionError"]

# What the child says, and what comes out: the class of the error and its text (None: any), or what is returned.
REQUESTS = [
    *((error(-32000, "trap.Sprung", order), [*REMOTE, "trap.Sprung"], None) for order in ORDERS),
    *((error(1, text, None), [*REMOTE, text], None) for text in ORDERS if isinstance(text, str)),
    *((reply(result=order), None, order) for order in ORDERS),
    (reply(error={"code": "trap:Sprung", "message": "x"}), [*BROKEN, None], None),
    (reply(error={"code": 1, "message": {"__class__": "trap.Sprung"}}), [*BROKEN, None], None),
    (reply(error="trap.Sprung", result=1), [*BROKEN, None], None),
    (PICKLED + "\n", [*BROKEN, None], None),
]
EVENTS = [
    *(line({"type": name, "data": "trap"}) for name in ("__class__", "os.system", "trap", "builtins.eval")),
    *(line(order) for order in ORDERS if isinstance(order, dict)),
]
METHODS = ["__class__", "__init__", "double.__globals__", "os.system", "trap.Sprung", "destroy", "builtins.eval"]
ERROR = {"type": "trap.Sprung", "message": "x", "traceback": ""}
SPOKEN = [
    *(
        ({"type": text, "message": text, "traceback": text}, [*FUNCTION, f"{text.removeprefix('builtins.')}: {text}"])
        for text in ("builtins.eval", "os.system", "trap.Sprung", *(text for text in ORDERS if isinstance(text, str)))
    ),
]


def attack(backend, tmp_path, attacks):
    """Run the parent, and return what each attack came to. Nothing may have happened in any of them."""
    (tmp_path / "trap.py").write_text(TRAP)
    trap = tmp_path / "sprung"
    path = os.pathsep.join([str(PARENT.parent), str(tmp_path)])
    ran = subprocess.run(
        [sys.executable, "-X", "dev", str(PARENT), backend],
        input=json.dumps(attacks),
        env={**os.environ, "PYTHONPATH": path, "TRAP": str(trap)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=50,
    )
    assert ran.returncode == 0
    outcomes = json.loads(ran.stdout)
    for (_, said), outcome in zip(attacks, outcomes, strict=True):
        assert (outcome["happened"], outcome["modules"]) == ([], []), said
    assert not trap.exists()
    return outcomes


def matches(raised, expected):
    return raised[:2] == expected[:2] and expected[2] in (None, raised[2])


@pytest.mark.fault("S1")
def test_a_trap_springs_when_it_is_walked_into(tmp_path, monkeypatch):
    """Else the tests below would prove nothing."""
    (tmp_path / "trap.py").write_text(TRAP)
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    monkeypatch.syspath_prepend(tmp_path)
    for walk in (lambda: __import__("trap"), lambda: pickle.loads(PICKLED.encode("latin-1"))):
        walk()
        assert (tmp_path / "sprung").exists()
        (tmp_path / "sprung").unlink()


@pytest.mark.fault("S1")
def test_an_answer_is_data_and_an_error_is_text(anyio_backend_name, tmp_path):
    outcomes = attack(anyio_backend_name, tmp_path, [("request", said) for said, _, _ in REQUESTS])
    for (said, raised, returned), outcome in zip(REQUESTS, outcomes, strict=True):
        if raised is None:
            assert outcome["returned"] == returned
        else:
            assert matches(outcome["raised"], raised), (said, outcome)
    assert [outcome["data"] for outcome in outcomes[: len(ORDERS)]] == ORDERS


@pytest.mark.fault("S1")
def test_an_event_and_a_request_reach_what_was_registered_and_nothing_else(anyio_backend_name, tmp_path):
    requests = [asked(name, ["touch $TRAP"]) for name in METHODS]
    outcomes = attack(anyio_backend_name, tmp_path, [("event", said) for said in EVENTS + requests])
    assert not any("raised" in outcome for outcome in outcomes)
    assert [outcome["returned"] for outcome in outcomes] == [1] * len(EVENTS) + [0] * len(METHODS)
    assert [outcome["answered"] for outcome in outcomes] == [0] * len(EVENTS) + [1] * len(METHODS)
    (doubled,) = attack(anyio_backend_name, tmp_path, [("event", asked("double", {"value": PICKLED}))])
    assert doubled["answered"] == 1


@pytest.mark.fault("S1")
def test_what_a_function_child_says_is_data_and_its_errors_are_text(anyio_backend_name, tmp_path):
    replies = [(body, raised, None) for body, raised in SPOKEN] + [([order], None, order) for order in ORDERS]
    logs = [{"logger": "trap", "level": 30, "text": text} for text in ("%(trap)s %s", PICKLED)]
    attacks = [("speak", line([*logs, body])) for body, _, _ in replies]
    attacks += [("note", line(body)) for body, _, _ in replies]
    outcomes = attack(anyio_backend_name, tmp_path, attacks)
    for (said, raised, returned), outcome in zip(replies * 2, outcomes, strict=True):
        if raised is None:
            assert outcome["returned"] == returned, said
        else:
            assert outcome["raised"] == raised
            assert set(outcome["texts"]) == {"str"}


@pytest.mark.fault("S1")
def test_a_function_child_that_speaks_another_language_is_an_error_and_no_more(anyio_backend_name, tmp_path):
    wrong = [
        7,
        None,
        [[1, 2]],
        [7],
        [None],
        [{"logger": "trap", "level": 30}],
        [{"logger": {}, "level": [], "text": None}],
    ]
    wrong += [[order] for order in ORDERS if isinstance(order, dict)] + [[{**ERROR, "__reduce__": "trap"}]]
    wrong += [[{**ERROR, "type": {"__class__": "trap.Sprung"}}], [{**ERROR, "message": None}]]
    attacks = [("speak", line(said)) for said in wrong] + [("greet", line(said)) for said in wrong[:6]]
    attacks += [("speak", PICKLED + "\n"), ("greet", PICKLED + "\n")]
    outcomes = attack(anyio_backend_name, tmp_path, attacks)
    assert [said for said, outcome in zip(attacks, outcomes, strict=True) if "raised" not in outcome] == []


@pytest.mark.fault("S1")
def test_what_a_dying_child_left_in_shared_memory_is_counted_once(anyio_backend_name, tmp_path):
    """More answers than there were inputs, and answers that are none."""
    left = [line([1]) + line([2]), line({**ERROR, "type": {}}) + line([1])]
    outcomes = attack(anyio_backend_name, tmp_path, [("note", said) for said in left])
    assert [outcome["returned"] for outcome in outcomes] == [1, 1]


@pytest.mark.fault("S1")
def test_a_start_that_failed_is_told_in_text(anyio_backend_name, tmp_path):
    told = {"type": "trap.Sprung", "message": PICKLED, "traceback": "builtins.eval"}
    (outcome,) = attack(anyio_backend_name, tmp_path, [("greet", line([{"failed": told}]))])
    assert outcome["raised"] == [*FUNCTION, f"trap.Sprung: {PICKLED}"]
