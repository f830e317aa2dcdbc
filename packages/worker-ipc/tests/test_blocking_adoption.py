"""The first thing a child does is to take its channel away from everyone else, or to say why there is none."""

import os
import select

import pytest

from worker_ipc import blocking
from worker_ipc._errors import NoChannel

pytestmark = pytest.mark.usefixtures("no_leaks")

OPEN = "from worker_ipc.blocking import open_parent\nwith open_parent() as channel: channel.send('here')\n"


@pytest.mark.wire("F6")
@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("fd", [None, 0, 1, 2])
def test_the_channel_may_be_any_descriptor_blocking_or_not(raw_child, fd, blocking):
    child = raw_child(
        "channel.send('here'); print('noise', flush=True); sys.stderr.write('')", fd=fd, blocking=blocking
    )
    assert child.receive() == {"type": "here"}
    assert child.receive() is None
    assert child.wait() == 0


@pytest.mark.fault("S4")
@pytest.mark.wire("F1")
def test_neither_the_variables_nor_the_descriptor_reach_a_grandchild(raw_child):
    child = raw_child("""
        import subprocess
        code = "import os; print(sorted(os.listdir('/proc/self/fd')), [n for n in os.environ if 'CHANNEL' in n])"
        text = subprocess.run([sys.executable, "-c", code], close_fds=False, capture_output=True, text=True).stdout
        channel.send("seen", {"text": text})
    """)
    assert child.receive()["text"] == "['0', '1', '2', '3'] []\n"  # 3 is the listing itself
    child.close()
    child.ends_quietly()


@pytest.mark.wire("D3")
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"NODE_CHANNEL_FD": ""}, "open_child"),
        ({"NODE_CHANNEL_FD": "abc"}, "must be the number of a descriptor, got 'abc'"),
        ({"NODE_CHANNEL_FD": "-1"}, "must be the number of a descriptor, got '-1'"),
        ({"NODE_CHANNEL_FD": "٣"}, "must be the number of a descriptor"),
        ({"NODE_CHANNEL_FD": "9" * 100}, "must be the number of a descriptor"),
        ({"NODE_CHANNEL_FD": "977"}, "977, which is not open here"),
        ({"NODE_CHANNEL_FD": "999999999"}, "999999999, which is not open here"),
        ({"NODE_CHANNEL_FD": "0"}, "not a socket"),
        ({"NODE_CHANNEL_SERIALIZATION_MODE": "advanced"}, "serialization: 'json'"),
    ],
)
def test_without_a_channel_it_is_said_what_to_do(raw_child, variables, words):
    child = raw_child(OPEN, prelude="", variables=variables)
    assert child.wait() == 1
    last = child.stderr.splitlines()[-1]
    assert "NoChannel: " in last
    assert words in last


def test_the_variables_are_gone_even_if_they_were_wrong(monkeypatch):
    monkeypatch.setenv("NODE_CHANNEL_FD", "abc")
    monkeypatch.setenv("NODE_CHANNEL_SERIALIZATION_MODE", "advanced")
    with pytest.raises(NoChannel):
        blocking.open_parent()
    assert not [name for name in os.environ if name.startswith("NODE_CHANNEL")]


def test_an_empty_mode_is_json(raw_child):
    child = raw_child(OPEN, prelude="", variables={"NODE_CHANNEL_SERIALIZATION_MODE": ""})
    assert child.receive() == {"type": "here"}
    child.ends_quietly()


def test_a_second_opening_is_refused(raw_child):
    child = raw_child("""
        try:
            open_parent()
        except Exception as error:
            channel.send(type(error).__name__, {"text": str(error)})
    """)
    refusal = child.receive()
    assert refusal["type"] == "NoChannel"
    assert "opened in this process before" in refusal["text"]


def test_nothing_heavy_is_imported(raw_child):
    child = raw_child(
        """
        heavy = "asyncio anyio trio typing socket logging threading multiprocessing subprocess pickle"
        before = set(sys.modules)
        import orjson  # what it imports by itself is not our doing
        known = before | set(sys.modules)
        from worker_ipc.blocking import open_parent
        with open_parent() as channel:
            channel.send("loaded", {"heavy": [name for name in heavy.split() if name in set(sys.modules) - known]})
            channel.serve()
        """,
        prelude="import sys\nimport os\n",
    )
    assert child.receive()["heavy"] == []


@pytest.mark.wire("F8")
def test_a_forked_copy_does_not_hold_the_channel_open(raw_child):
    child = raw_child("""
        reader, writer = os.pipe()
        if os.fork() == 0:
            try:
                channel.send("not from here")
            except Exception as error:
                os.write(writer, type(error).__name__.encode())
            os.read(0, 1) if False else time.sleep(0)
            os.close(writer)
            os.execvp("sleep", ["sleep", "1000"])
        os.close(writer)
        name = b"".join(iter(lambda: os.read(reader, 100), b"")).decode()
        channel.send("copy", {"raised": name, "pgid": os.getpgid(0)})
        channel.close()
        os._exit(0)
    """)
    message = child.receive()
    try:
        assert message["raised"] == "ChannelClosed"
        assert child.receive() is None  # at once, although the copy lives
    finally:
        os.killpg(message["pgid"], 9)
    child.process.wait()


@pytest.mark.wire("F8")
def test_a_forked_copy_is_refused_also_while_another_thread_is_in_the_middle_of_a_message(raw_child):
    child = raw_child("""
        import signal
        thread = threading.Thread(target=channel.send, args=["large", {"data": "x" * 10_000_000}])
        thread.start()
        channel.listen_once("fork")
        copy = os.fork()
        if copy == 0:
            signal.alarm(10)  # a hang ends
            try:
                channel.send("not from here")
            except Exception as error:
                os._exit(7 if type(error).__name__ == "ChannelClosed" else 1)
            os._exit(0)
        status = os.waitpid(copy, 0)[1]
        thread.join()
        channel.send("copy", {"status": os.waitstatus_to_exitcode(status)})
    """)
    select.select([child.socket], [], [])
    child.send({"type": "fork"})
    assert len(child.receive()["data"]) == 10_000_000
    assert child.receive() == {"type": "copy", "status": 7}
    assert child.wait() == 0


IN_A_LOOP = """
import anyio
from worker_ipc import open_parent
from worker_ipc.codecs import JsonLines
async def main():
    try:
        async with open_parent(codec=JsonLines): pass
    except TypeError as error:
        text = str(error)
    async with open_parent() as channel:
        await channel.send("refused", {"text": text})
anyio.run(main)
"""
IN_A_SCRIPT = """
from worker_ipc.blocking import open_parent
from worker_ipc.codecs import JsonLines
try:
    open_parent(codec=JsonLines)
except TypeError as error:
    text = str(error)
with open_parent() as channel:
    channel.send("refused", {"text": text})
"""


@pytest.mark.parametrize("code", [IN_A_LOOP, IN_A_SCRIPT], ids=["loop", "script"])
def test_what_is_no_codec_is_refused_before_the_channel_is_taken(raw_child, code):
    child = raw_child(code, prelude="")
    refusal = child.receive()
    assert refusal["text"].startswith("codec must be a codec, such as JsonLines(), got <class")
    assert child.receive() is None
    child.ends_quietly()
