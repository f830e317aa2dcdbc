"""A plain function is a worker: many inputs per message, and a crash costs exactly one."""

import copy
import functools
import importlib
import logging
import math
import os
import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from worker_ipc import EncodeError
from worker_ipc.codecs import JsonLines, Pickled, TextLines
from worker_pool import Failure, PoolBroken, Settle, WorkPool
from worker_spawn import FunctionError, WorkerDied, function_worker

pytestmark = pytest.mark.anyio


async def test_a_function_by_name_and_by_itself() -> None:
    async with function_worker("functions:double") as worker:
        assert await worker.execute("a-") == "a-a-"
    function = importlib.import_module("functions").double
    async with function_worker(function) as worker:
        assert await worker.execute(21) == 42


@pytest.mark.parametrize("entry", ["lib", "./lib/../lib", ""])
async def test_a_relative_path_is_one_of_this_process_also_when_the_child_is_elsewhere(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / entry / "only_here.py").write_text("import os\ndef where(_): return os.getcwd()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry, *sys.path])
    async with function_worker("only_here:where", cwd="/") as worker:
        assert await worker.execute(None) == "/"


async def test_a_module_that_starts_workers_when_it_is_imported_is_told_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a main script does without its guard: it would start them in each child, and they in theirs."""
    (tmp_path / "unguarded.py").write_text(
        "import anyio\n"
        "from worker_spawn import function_worker\n"
        "def double(number): return number * 2\n"
        "async def main():\n"
        "    async with function_worker('unguarded:double') as worker: print(await worker.execute(1))\n"
        "anyio.run(main)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with anyio.fail_after(20), pytest.raises(FunctionError, match=r"unguarded:double starts workers .* only under"):
        async with function_worker("unguarded:double"):
            pass


async def test_what_is_no_path_stays_as_it_is_for_whoever_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    word = "__editable__.somebodys.finder.__path_hook__"
    monkeypatch.setattr(sys, "path", [*sys.path, word])
    async with function_worker("functions:has_in_path", cwd="/") as worker:
        assert await worker.execute(word)


async def test_a_path_may_hold_a_colon_and_what_is_no_str_is_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a:b").mkdir()
    (tmp_path / "a:b" / "behind_a_colon.py").write_text("def same(value): return value\n")
    monkeypatch.setattr(sys, "path", [tmp_path, b"bytes", str(tmp_path / "a:b"), *sys.path])
    async with function_worker("behind_a_colon:same") as worker:
        assert await worker.execute(1) == 1


async def test_every_input_has_its_own_result() -> None:
    async with WorkPool(lambda: function_worker("functions:double"), max_size=2) as pool:
        async with pool.stream(range(5000), ordered=True) as outcomes:
            assert [outcome.unwrap() async for outcome in outcomes] == [2 * n for n in range(5000)]


async def test_setup_runs_once_per_child() -> None:
    async with WorkPool(lambda: function_worker("functions:loads", setup="functions:load"), max_size=2) as pool:
        async with pool.stream(range(100)) as outcomes:
            assert {outcome.unwrap()[0] async for outcome in outcomes} == {1}


async def test_a_setup_may_be_async() -> None:
    async with function_worker("functions:loads", setup="functions:load_later") as worker:
        assert (await worker.execute(None))[0] == 1


async def test_a_setup_that_raises_is_told_with_its_traceback() -> None:
    with pytest.raises(FunctionError, match="ValueError: no table") as caught:
        async with function_worker("functions:double", setup="functions:load_nothing"):
            pass
    assert "in load_nothing" in caught.value.traceback


async def test_an_async_function() -> None:
    async with function_worker("functions:double_later") as worker:
        assert await worker.execute(4) == 8


@pytest.mark.parametrize("in_process", [False, True])
async def test_an_async_function_behind_an_ordinary_decorator(in_process: bool) -> None:
    make = partial(function_worker, "functions:decorated_double_later", setup="functions:decorated_load_later")
    async with make(in_process=in_process) as worker:
        assert await worker.execute(4) == 8


@pytest.mark.fault(20)
async def test_an_exception_arrives_as_text_and_the_child_goes_on() -> None:
    async with function_worker("functions:fail") as worker:
        for value in (1, 2):
            with pytest.raises(FunctionError, match=f"ValueError: no {value}") as caught:
                await worker.execute(value)
            assert caught.value.type == "builtins.ValueError"
            assert "in fail" in caught.value.traceback
            assert caught.value.__notes__ == [caught.value.traceback.rstrip()]  # what shows it, shows that too
        assert worker.active


@pytest.mark.fault("S7")
async def test_what_is_printed_of_an_exception_is_escaped() -> None:
    async with function_worker("functions:fail") as worker:
        with pytest.raises(FunctionError) as caught:
            await worker.execute("\x1b[2J\u202e")
    assert caught.value.message == "no \x1b[2J\u202e"
    assert str(caught.value) == r"ValueError: no \x1b[2J\u202e"
    assert r"ValueError: no \x1b[2J\u202e" in caught.value.__notes__[0]


@pytest.mark.fault(17)
async def test_system_exit_stays_in_the_child() -> None:
    async with function_worker("functions:leave") as worker:
        with pytest.raises(FunctionError, match="SystemExit"):
            await worker.execute(1)
        assert worker.active


@pytest.mark.fault(22)
async def test_a_result_that_cannot_be_encoded_fails_alone() -> None:
    async with function_worker("functions:unsendable") as worker:
        with pytest.raises(FunctionError, match=r"^worker_ipc.EncodeError: the result is of type \w+, .* Pickled\(\)"):
            await worker.execute(1)
        assert worker.active


@pytest.mark.parametrize("codec", [JsonLines(), Pickled()], ids=repr)
async def test_a_result_above_max_message_fails_alone(codec: Any) -> None:
    async with function_worker("functions:text_of", codec=codec, max_message=2000) as worker:
        for _ in range(2):
            with pytest.raises(FunctionError, match=r"EncodeError: .* the limit is max_message=2000 bytes"):
                await worker.execute(2000)
            assert await worker.execute(1900) == "x" * 1900
        assert worker.active


async def test_a_result_may_be_as_large_as_it_is_allowed_to_be() -> None:
    size = 64 * 2**20 + 1
    async with function_worker("functions:text_of") as worker:
        with pytest.raises(FunctionError, match="EncodeError"):
            await worker.execute(size)
        assert await worker.execute(1) == "x"
    async with function_worker("functions:text_of", max_message=size + 10) as worker:
        assert len(await worker.execute(size)) == size


@pytest.mark.parametrize("codec", [JsonLines(), Pickled()], ids=repr)
async def test_max_message_is_one_of_results_and_not_of_what_travels_with_them(codec: Any) -> None:
    make = partial(function_worker, "functions:fail_at_length", codec=codec, max_message=100)
    async with WorkPool(make, max_size=1) as pool:
        async with pool.stream([*range(5000), "fail", *range(5000)], ordered=True) as outcomes:
            ended = [outcome async for outcome in outcomes]
        assert pool.statistics().started == 1
    (failure,) = [outcome for outcome in ended if isinstance(outcome, Failure)]
    assert isinstance(failure.error, FunctionError)
    assert failure.error.type == "builtins.ValueError"


@pytest.mark.fault(23)
async def test_an_input_that_cannot_be_encoded_fails_alone() -> None:
    async with WorkPool(lambda: function_worker("functions:double"), max_size=1) as pool:
        async with pool.stream([1, float("nan"), 3], ordered=True) as outcomes:
            first, second, third = [outcome async for outcome in outcomes]
    assert (first.unwrap(), third.unwrap()) == (2, 6)
    assert isinstance(second, Failure)
    assert isinstance(second.error, EncodeError)
    assert str(second.error).startswith("the input is nan")


@pytest.mark.fault(15)
async def test_a_crash_costs_exactly_the_input_that_was_executing() -> None:
    inputs = [*range(700), "die", *range(700, 1400)]
    async with WorkPool(lambda: function_worker("functions:maybe_die"), max_size=2) as pool:
        await pool.process([0] * 2000)  # warm: inputs travel together now
        async with pool.stream(inputs) as outcomes:
            ended = [outcome async for outcome in outcomes]
    (failure,) = [outcome for outcome in ended if isinstance(outcome, Failure)]
    assert failure.input == "die"
    assert isinstance(failure.error, WorkerDied)
    assert sorted(o.unwrap() for o in ended if o is not failure) == list(range(1400))


async def test_nothing_waits_behind_a_slow_input_while_another_worker_is_idle() -> None:
    async with WorkPool(lambda: function_worker("functions:nap"), min_size=4, max_size=4) as pool:
        await pool.process([0.0] * 4000)  # quick ones: many are sent ahead
        began = time.perf_counter()
        await pool.process([0.0] * 50 + [0.3] * 8)
        took = time.perf_counter() - began
    assert took < 1.5  # 0.6 in the ideal case, 2.4 if one worker had hoarded them


async def test_pickled_moves_any_object() -> None:
    async with function_worker("functions:double", codec=Pickled()) as worker:
        assert await worker.execute((1, b"x")) == (1, b"x", 1, b"x")


async def test_pickled_moves_arrays_out_of_band() -> None:
    """As a library of arrays does it: their memory is no part of the pickle, but travels beside it."""
    functions = importlib.import_module("functions")
    array = functions.Array(bytearray(range(256)) * 32768)  # 8 MiB
    async with function_worker("functions:reversed_array", codec=Pickled()) as worker:
        result = await worker.execute(array)
    assert type(result) is functions.Array
    assert result.memory == array.memory[::-1]


async def test_eight_inputs_on_four_workers_take_the_time_of_two() -> None:
    async with WorkPool(lambda: function_worker("functions:nap"), min_size=4, max_size=4) as pool:
        await pool.process([0.0] * 400)  # warm: all four are there, and inputs travel together
        while pool.statistics().started < 4:
            await pool.execute(0.01)
        began = time.perf_counter()
        await pool.process([0.2] * 8)
        took = time.perf_counter() - began
    assert 0.4 <= took < 0.8  # 1.6 if one worker had hoarded them all; 0.8 if it had four


async def test_a_name_that_is_not_there_breaks_the_pool_with_the_reason() -> None:
    with pytest.raises(PoolBroken) as caught:
        async with WorkPool(lambda: function_worker("functions:nope")) as pool:
            await pool.execute(1)
    assert isinstance(caught.value.__cause__, FunctionError)
    assert "nope" in str(caught.value.__cause__)


@pytest.mark.parametrize("name", ["functions", ":double", "functions:", lambda value: value])
async def test_a_function_that_no_child_can_import_is_refused_at_once(name: object) -> None:
    with pytest.raises(ValueError, match="function must be"):
        function_worker(name)  # type: ignore[arg-type]


async def test_in_process_for_a_debugger() -> None:
    async with function_worker("functions:fail", in_process=True) as worker:
        with pytest.raises(ValueError, match="no 1"):
            await worker.execute(1)


@pytest.mark.stress
async def test_what_threads_of_the_child_log_mixes_with_no_result(
    caplog: pytest.LogCaptureFixture, rounds: Callable[[int], int]
) -> None:
    caplog.set_level(logging.CRITICAL, "of.a.thread")
    numbers = range(rounds(1000))
    make = partial(function_worker, "functions:nap_a_little", setup="functions:start_talkers", stderr="capture")
    async with WorkPool(make, max_size=1) as pool, pool.stream(numbers, ordered=True) as outcomes:
        assert [outcome.unwrap() async for outcome in outcomes] == list(numbers)


async def test_what_threads_log_arrives(caplog: pytest.LogCaptureFixture) -> None:
    async with function_worker("functions:nap_a_little", setup="functions:start_talkers", stderr="capture") as worker:
        with anyio.fail_after(20):
            while not any(record.name == "of.a.thread" for record in caplog.records):
                await worker.execute(1)


@pytest.mark.stress
async def test_a_forked_copy_of_the_child_disturbs_nothing(rounds: Callable[[int], int]) -> None:
    numbers = range(rounds(20_000))
    async with WorkPool(
        partial(function_worker, "functions:with_a_forked_helper", stderr="capture"), max_size=1
    ) as pool:
        async with pool.stream(numbers, ordered=True) as outcomes:
            assert [outcome.unwrap() async for outcome in outcomes] == list(numbers)


async def test_a_copy_that_returns_is_not_the_worker() -> None:
    async with function_worker("functions:fork_and_return", stderr="capture") as worker:
        for value in ["a", "fork", "b", "c"]:
            assert await worker.execute(value) == value


async def test_a_copy_that_leaves_during_the_setup_is_not_the_worker() -> None:
    async with function_worker("functions:double", setup="functions:fork_and_leave") as worker:
        assert await worker.execute(1) == 2


@pytest.mark.stress
async def test_two_who_execute_at_once_wait_for_their_turn() -> None:
    results: list[float] = []
    async with function_worker("functions:nap") as worker, anyio.create_task_group() as group:

        async def run(seconds: float) -> None:
            results.append(await worker.execute(seconds))

        for seconds in (0.1, 0.02, 0.03):
            group.start_soon(run, seconds)
    assert sorted(results) == [0.02, 0.03, 0.1]


class Counting(Settle):
    """Counts how often each input was settled."""

    def __init__(self) -> None:
        self.settled: Counter[int] = Counter()
        self.done = anyio.Event()

    def __call__(self, i: int, outcome: object, /) -> None:
        self.settled[i] += 1

    def many(self, answers: Sequence[tuple[int, Any, Exception | None]], /, *, more: bool = False) -> None:
        self.settled.update(i for i, _, _ in answers)
        self.done.set()


@pytest.mark.stress
async def test_what_is_withdrawn_is_given_back_once() -> None:
    first, second, third = Counting(), Counting(), Counting()
    async with function_worker("functions:nap") as worker:
        worker.submit([0.3, 0.01, 0.01], first)  # type: ignore[attr-defined]
        worker.submit([0.01], second)  # type: ignore[attr-defined]
        while not second.settled:
            await anyio.sleep(0.01)
        worker.submit([0.01, 0.01], third)  # type: ignore[attr-defined]
        await first.done.wait()
        assert await worker.execute(0.01) == 0.01  # what was withdrawn is behind it by now
    assert (first.settled, second.settled, third.settled) == ({0: 1, 1: 1, 2: 1}, {0: 1}, {0: 1, 1: 1})


def test_a_function_whose_name_leads_to_another_is_refused() -> None:
    functions = importlib.import_module("functions")
    wrapped = functools.wraps(functions.double)(lambda value: value * 100)
    for other in (wrapped, functions.Scaler(3).scale):
        with pytest.raises(ValueError, match="is another one"):
            function_worker(other)
    with pytest.raises(ValueError, match="twice is in your main script: move it into a file of its own"):
        function_worker("__main__:twice")
    for itself in (functions.double, functions.Scaler.double, math.sqrt, os.getpid):
        function_worker(itself)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": TextLines()}, r"codec must be JsonLines\(\) or Pickled\(\), got "),
        ({"codec": Pickled}, r"codec must be JsonLines\(\) or Pickled\(\), got <class"),
        ({"setup": 3}, "setup must be one that a child can import by name, got 3"),
        ({"setup": "x"}, "setup must be named as 'package.module:function', got 'x'"),
        ({"setup": "__main__:load"}, "setup must be in a module that a child can import"),
        ({"in_process": "x"}, "in_process must be True or False, got 'x'"),
        ({"env": [("A", "b")]}, "env must be a mapping of str to str, got"),
        ({"max_message": 0}, "max_message must be a positive number of bytes, got 0"),
        ({"max_message": "1M"}, "max_message must be a positive number of bytes, got '1M'"),
        ({"max_mesage": 1}, "unexpected keyword argument 'max_mesage'"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name_before_anything_starts(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        function_worker("functions:double", **options)


@pytest.mark.parametrize("in_process", [False, True])
async def test_one_description_is_one_worker_at_a_time(in_process: bool) -> None:
    described = function_worker("functions:double", in_process=in_process)
    for _ in range(2):  # when it was left, it may be entered again
        async with described as worker:
            with pytest.raises(RuntimeError, match=r"this function_worker is entered already: .*lambda: function_wor"):
                async with described:
                    pass
            assert await worker.execute(1) == 2


async def test_a_description_whose_start_failed_is_not_entered() -> None:
    described = function_worker("functions:double", setup="functions:load_nothing")
    for _ in range(2):
        with pytest.raises(FunctionError, match="no table"):
            async with described:
                pass


@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.parametrize("role", ["function", "setup"])
async def test_a_name_of_what_is_no_function_is_told_at_the_start(role: str, in_process: bool) -> None:
    names = {"function": "functions:double", "setup": "functions:load"} | {role: "functions:CONSTANT"}
    with pytest.raises((FunctionError, TypeError), match="functions:CONSTANT must be a function, got 3"):
        async with function_worker(names["function"], setup=names["setup"], in_process=in_process):
            pass


@pytest.mark.parametrize(
    "error",
    [
        FunctionError("builtins.ValueError", "no", "Traceback"),
        WorkerDied("double.py", phase="execute", pid=7, returncode=-9, stderr="last words", not_started=True),
    ],
    ids=["FunctionError", "WorkerDied"],
)
def test_errors_can_be_copied_and_pickled(error: Exception) -> None:
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert (str(again), vars(again)) == (str(error), vars(error))
