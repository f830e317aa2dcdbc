"""A channel under a cancelled scope: whoever is shielded there can still talk, on both loops."""

import sys

import anyio
import pytest

from worker_ipc import ChannelClosed, open_child

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks"), pytest.mark.fault(96)]

SERVER = """
from worker_ipc.blocking import open_parent
with open_parent() as channel:
    channel.serve({"length": len})
"""

WRITER = """
import sys
from worker_ipc.blocking import open_parent
with open_parent() as channel:
    channel.send("ready")
    channel.listen_once("now")
    for message in channel.listen("big"):
        open(sys.argv[1], "w").write(str(len(message["text"])))
"""

CLOSES = """
import os, time
os.close(int(os.environ["NODE_CHANNEL_FD"]))
time.sleep(600)
"""


async def test_a_goodbye_in_a_shielded_scope_is_answered():
    with anyio.fail_after(20), anyio.CancelScope() as scope:
        async with open_child([sys.executable, "-c", SERVER]) as channel:
            assert await channel.request("length", ["abc"]) == 3
            scope.cancel()
            with anyio.CancelScope(shield=True):
                for text in ("a", "x" * 1_000_000):  # what fits at once, and what has to wait for the kernel
                    assert await channel.request("length", [text]) == len(text)
    assert channel.returncode == 0


async def test_what_was_sent_before_the_block_was_cancelled_arrives(tmp_path):
    arrived = tmp_path / "arrived"
    with anyio.fail_after(20), anyio.CancelScope() as scope:
        async with open_child([sys.executable, "-c", WRITER, str(arrived)]) as channel:
            await channel.listen_once("ready")
            await channel.send("now")
            await channel.send("big", {"text": "x" * 2_000_000})
            scope.cancel()
            await anyio.sleep_forever()
    assert arrived.read_text() == "2000000"


async def test_the_end_of_a_child_that_closed_its_end_and_lives_is_told():
    with anyio.fail_after(20), anyio.CancelScope() as scope:
        async with open_child([sys.executable, "-c", CLOSES]) as channel:
            scope.cancel()
            with anyio.CancelScope(shield=True), pytest.raises(ChannelClosed, match="closed its end, and lives"):
                await channel.listen_once()
