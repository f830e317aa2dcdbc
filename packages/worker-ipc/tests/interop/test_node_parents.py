"""A Python program is a child of a Node program like any other: `fork` with execPath, `spawn` with an ipc channel."""

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.node, pytest.mark.usefixtures("no_leaks")]

BLOCKING = """
from worker_ipc.blocking import open_parent
with open_parent() as channel:
    channel.send("ready")
    for message in channel.listen("request"):
        channel.send("response", {"data": message["data"] * 2})
"""
ASYNC = """
import anyio
from worker_ipc import open_parent
async def main():
    async with open_parent() as channel:
        await channel.send("ready")
        async for message in channel.listen("request"):
            await channel.send("response", {"data": message["data"] * 2})
anyio.run(main, backend=BACKEND)
"""
CHILDREN = {
    "blocking": BLOCKING,
    "asyncio": ASYNC.replace("BACKEND", '"asyncio"'),
    "trio": ASYNC.replace("BACKEND", '"trio"'),
}
FORK = 'require("child_process").fork(script, [], { execPath: python, execArgv: [] })'
SPAWN = 'require("child_process").spawn(python, [script], { stdio: ["inherit", "inherit", "inherit", "ipc"] })'
SPAWN_ON_STDOUT = 'require("child_process").spawn(python, [script], { stdio: ["inherit", "ipc", "inherit"] })'

CONVERSE = """
const received = [];
child.on("message", (m) => {
  received.push(m);
  if (m.type === "ready") child.send({ type: "request", data: "a-" });
  if (m.type === "response") child.disconnect();
});
child.on("exit", (code, signal) => console.log(JSON.stringify({ received, code, signal })));
"""


def run_node(code, script):
    """Run a Node program with `python` and `script`; return what it printed as JSON, and what went to stderr."""
    prelude = f"const python = {json.dumps(sys.executable)}, script = {json.dumps(str(script))};\n"
    done = subprocess.run(["node", "-e", prelude + code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "child.py"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("start", [FORK, SPAWN, SPAWN_ON_STDOUT], ids=["fork", "spawn", "spawn on stdout"])
@pytest.mark.parametrize("kind", CHILDREN)
def test_a_python_child_of_node_converses_and_ends_quietly(script, start, kind):
    result, stderr = run_node(f"const child = {start};\n{CONVERSE}", script(CHILDREN[kind]))
    assert result["received"] == [{"type": "ready"}, {"type": "response", "data": "a-a-"}]
    assert (result["code"], result["signal"], stderr) == (0, None, "")


@pytest.mark.wire("F4")
@pytest.mark.parametrize("kind", CHILDREN)
def test_the_mode_advanced_is_refused_by_name(script, kind):
    code = FORK.replace("execArgv: []", 'execArgv: [], serialization: "advanced"')
    end = 'child.on("exit", (code) => console.log(JSON.stringify(code)));'
    result, stderr = run_node(f"const child = {code};\n{end}", script(CHILDREN[kind]))
    assert result == 1
    assert "the parent speaks 'advanced'" in stderr
    assert "serialization: 'json'" in stderr


@pytest.mark.wire("F2")
@pytest.mark.parametrize("kind", CHILDREN)
def test_a_handle_from_node_is_answered(script, kind):
    code = """
    const received = [];
    child.on("message", (m) => {
      received.push(m);
      if (m.type === "response") { server.close(); child.disconnect(); }
    });
    child.on("exit", (code) => console.log(JSON.stringify({ received, code })));
    const server = require("net").createServer().listen(0, "127.0.0.1", () => {
      child.send({ type: "handle" }, server);
      child.send({ type: "request", data: "after" });
    });
    """
    result, _ = run_node(f"const child = {FORK};\n{code}", script(CHILDREN[kind]))
    assert result["received"] == [{"type": "ready"}, {"type": "response", "data": "afterafter"}]
    assert result["code"] == 0


@pytest.mark.wire("A4")
def test_what_python_sent_before_it_exits_arrives(script):
    child = script("""
import sys
from worker_ipc.blocking import open_parent
channel = open_parent()
for i in range(2000):
    channel.send("n", {"i": i, "pad": "x" * 1000})
sys.exit()
""")
    code = """
    let count = 0; child.on("message", () => count++);
    child.on("close", () => console.log(JSON.stringify(count)));
    """
    assert run_node(f"const child = {FORK};\n{code}", child)[0] == 2000


@pytest.mark.fault(79)
def test_a_busy_python_child_is_gone_with_a_node_parent_that_is_killed(script, tmp_path):
    child = script("""
import os
from worker_ipc.blocking import open_parent
with open_parent() as channel:
    channel.send("pid", {"pid": os.getpid()})
    while True:
        pass
""")
    from worker_testkit import doomed_parent

    code = f"const python = {json.dumps(sys.executable)}, script = {json.dumps(str(child))};\nconst child = {FORK};\n"
    code += 'child.on("message", (m) => console.log(m.pid)); setInterval(() => {}, 1000);'
    scenario = f"""
        node = subprocess.Popen(["node", "-e", {code!r}], stdout=subprocess.PIPE, start_new_session=True)
        python = int(node.stdout.readline())
        report(python, node.pid)
        node.kill()
        node.wait()
    """
    with doomed_parent(scenario) as parent:
        parent.reported(2)
        assert parent.gone_within(2) == []


@pytest.mark.wire("F1")
@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_node_starts_python_starts_node(script, kind):
    inner = """process.on("message", (m) => process.send({ type: "response", data: m.data + "!" }));"""
    middle = {
        "blocking": """
import subprocess
from worker_ipc.blocking import open_parent
with open_parent() as channel:
    code = "typeof process.send + Object.keys(process.env).filter(k => /CHANNEL/.test(k))"
    seen = subprocess.run(["node", "-p", code], capture_output=True, text=True, close_fds=False)
    channel.send("ready")
    for message in channel.listen("request"):
        channel.send("response", {"data": seen.stdout.strip() + str(seen.returncode)})
""",
        "async": f"""
import anyio
from worker_ipc import open_child, open_parent
async def main():
    async with open_parent() as parent, open_child(["node", "-e", {inner!r}]) as child:
        await parent.send("ready")
        async for message in parent.listen("request"):
            reply = child.listen_once("response")
            await child.send("request", {{"data": message["data"]}})
            await parent.send("response", {{"data": (await reply)["data"]}})
anyio.run(main)
""",
    }[kind]
    result, stderr = run_node(f"const child = {FORK};\n{CONVERSE}", script(middle))
    assert result["received"][1] == {"type": "response", "data": {"blocking": "undefined0", "async": "a-!"}[kind]}
    assert (result["code"], stderr) == (0, "")
