"""What a program is told in a wrong way is refused by name, before there is a child."""

from pathlib import Path
from typing import Any

import pytest

from worker_spawn import spawned_worker

TALKER = Path(__file__).with_name("talker.py")


async def ask(channel: Any, text: str) -> str:
    reply = channel.listen_once("response")
    await channel.send("request", {"data": text})
    return (await reply)["data"]


# --- keep_after


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [list, set, iter, lambda classes: (one for one in classes)])
async def test_the_classes_of_keep_after_may_come_in_any_iterable(kind: Any) -> None:
    async def picky(channel: Any, text: str) -> str:
        if text == "no":
            raise KeyError(text)
        if text == "never":
            raise ValueError(text)
        return await ask(channel, text)

    async with spawned_worker(TALKER, execute=picky, keep_after=kind([KeyError, OSError])) as worker:
        for _ in range(2):
            with pytest.raises(KeyError):
                await worker.execute("no")
            assert worker.active
        assert await worker.execute("a") == "aa"
        with pytest.raises(ValueError, match="never"):
            await worker.execute("never")
        assert not worker.active


@pytest.mark.parametrize(
    "wrong", ["KeyError", KeyError("a"), KeyboardInterrupt, BaseException, None, 7, [KeyError, "OSError"], int]
)
def test_keep_after_is_of_exception_classes(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^keep_after must be a subclass of Exception, or an iterable of them, got "):
        spawned_worker(TALKER, execute=ask, keep_after=wrong)
