"""On trio, Ctrl-C does not strike in the middle of our code: trio has to play along, so it is looked at here."""

from __future__ import annotations

import signal

import anyio
import pytest
import trio

from worker_pool import WorkPool

pytestmark = pytest.mark.fault(93)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_in_a_worker_is_no_failure_of_its_input_but_ends_the_block(backend: str) -> None:
    seen: list[str] = []

    async def work(number: int) -> int:
        signal.raise_signal(signal.SIGINT)
        seen.append("went on")
        await anyio.sleep_forever()
        return number

    async def main() -> None:
        async with WorkPool(lambda: work) as pool:
            try:
                await pool.execute(1)
            finally:
                seen.append("left")

    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend=backend)
    assert seen == ["went on", "left"]


def test_the_body_of_a_block_is_the_users_own() -> None:
    async def double(number: int) -> int:
        return 2 * number

    async def main() -> None:
        async with WorkPool(lambda: double) as pool:
            assert not trio.lowlevel.currently_ki_protected()
            async with pool.stream([1, 2]) as outcomes:
                async for _ in outcomes:
                    assert not trio.lowlevel.currently_ki_protected()

    anyio.run(main, backend="trio")
