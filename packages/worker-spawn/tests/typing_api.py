"""What a type checker knows about the public interface. Never run: mypy and pyright read it; what must fail, fails."""

from typing import Any, assert_type

from worker_ipc import ChildStream, ParentChannel, open_stream
from worker_pool import WorkPool
from worker_spawn import SpawnedWorker, function_worker, spawned_worker


async def ask(channel: ParentChannel, text: str) -> int:
    return len(text)


async def calculate(stream: ChildStream[str], term: str) -> float:
    return float(term)


def double(value: int) -> str:
    return str(value)


async def double_later(value: int) -> str:
    return str(value)


async def conversations() -> None:
    async with spawned_worker("double.py", execute=ask) as worker:
        assert_type(worker, SpawnedWorker[str, int])
        assert_type(await worker.execute("a"), int)
        assert_type(worker.rss, int)
        await worker.execute(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with WorkPool(lambda: spawned_worker("double.py", execute=ask)) as pool:
        assert_type(await pool.execute("a"), int)
        await pool.execute(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with WorkPool(lambda: spawned_worker("bc", open=open_stream, execute=calculate)) as calculators:
        assert_type(await calculators.execute("6 * 7"), float)
    spawned_worker("bc", execute=calculate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def kept_after() -> None:
    spawned_worker("double.py", execute=ask, keep_after=KeyError)
    spawned_worker("double.py", execute=ask, keep_after=[KeyError, OSError])
    spawned_worker("bc", open=open_stream, execute=calculate, keep_after=iter({KeyError, OSError}))
    spawned_worker("double.py", execute=ask, keep_after="KeyError")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spawned_worker("double.py", execute=ask, keep_after=KeyboardInterrupt)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spawned_worker("double.py", execute=ask, keep_after=[KeyError("a")])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def requests() -> None:
    async with spawned_worker[str, float]("double.py", execute="double") as worker:
        assert_type(await worker.execute("a"), float)
    async with spawned_worker("double.py", execute="double") as untold:
        assert_type(untold, SpawnedWorker[Any, Any])


async def functions() -> None:
    async with function_worker(double) as worker:
        assert_type(await worker.execute(1), str)
        await worker.execute("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with function_worker(double_later) as later:
        assert_type(await later.execute(1), str)
    async with function_worker[int, bytes]("module:name") as named:
        assert_type(await named.execute(1), bytes)
    async with function_worker("module:name") as untold:
        assert_type(untold, SpawnedWorker[Any, Any])
    async with WorkPool(lambda: function_worker(double)) as pool:
        assert_type(await pool.execute(1), str)


async def options() -> None:
    spawned_worker("double.py", execute=ask, cwd="/", env={"A": "b"}, stderr="capture", mailbox=5)
    spawned_worker("double.py", execute=ask, cdw="/")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    spawned_worker("double.py", execute=ask, mailbox="5")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    spawned_worker("bc", open=open_stream, execute=calculate, over="channel")
    function_worker(double, inherit_env=["HOME"], max_message=10)
    function_worker(double, stdin="inherit")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    spawned_worker("double.py")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    function_worker(double, setup=7)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    _: Any = None
