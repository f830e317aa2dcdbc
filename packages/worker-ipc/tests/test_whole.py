"""On trio, Ctrl-C does not strike in the middle of our code: trio has to play along, so it is looked at here."""

import signal
import sys

import anyio
import pytest
import trio

from worker_ipc import open_child, open_stream

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.fault(93)]

ECHO = "from worker_ipc.blocking import open_parent\nwith open_parent() as channel:\n"
ECHO += "    channel.send('hello')\n    channel.serve({'echo': lambda value: value})\n"


def test_a_handler_that_is_interrupted_is_finished_and_the_block_is_left() -> None:
    seen: list[str] = []

    async def main() -> None:
        async with open_child([sys.executable, "-c", ECHO]) as channel:

            def handle(_: object) -> None:
                signal.raise_signal(signal.SIGINT)
                seen.append("finished")

            channel.listen_for("hello", handle)
            try:
                await anyio.sleep_forever()
            except KeyboardInterrupt:
                seen.append("left")
                raise

    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend="trio")
    assert seen == ["finished", "left"]


def test_the_body_of_a_block_is_the_users_own() -> None:
    async def main() -> None:
        assert not trio.lowlevel.currently_ki_protected()
        async with open_child([sys.executable, "-c", ECHO]) as channel:
            assert not trio.lowlevel.currently_ki_protected()
            assert await channel.request("echo", [1]) == 1
            assert not trio.lowlevel.currently_ki_protected()
        async with open_stream([sys.executable, "-c", "print(1)"]) as stream:
            assert await stream.receive() == "1"
            assert not trio.lowlevel.currently_ki_protected()

    anyio.run(main, backend="trio")
