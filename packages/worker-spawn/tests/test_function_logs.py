"""What a function's child logs goes to the loggers of its parent, whenever it begins to log."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from worker_spawn import FunctionError, WorkerDied, function_worker

pytestmark = pytest.mark.anyio

Write = Callable[[str], object]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the module `speaker`, which every child imports anew."""
    monkeypatch.syspath_prepend(tmp_path)
    return (tmp_path / "speaker.py").write_text


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    records = [record for record in caplog.records if "worker" in vars(record)]
    return [(record.name, record.getMessage().partition("] ")[2]) for record in records]


async def test_a_function_may_import_logging_itself(module: Write, caplog: pytest.LogCaptureFixture) -> None:
    module("def speak(text):\n    import logging\n    logging.getLogger('late').warning(text)\n")
    async with function_worker("speaker:speak") as worker:
        await worker.execute("first")
        await worker.execute("second")
    assert logged(caplog) == [("late", "first"), ("late", "second")]


@pytest.mark.parametrize(
    "begin", ["logging.info('loading')", "def load(): logging.info('loading')"], ids=["at the import", "in the setup"]
)
async def test_what_is_logged_before_the_first_input_arrives_and_ends_nothing(
    begin: str, module: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """`logging.info` adds a handler of its own to a root logger that has none."""
    caplog.set_level(logging.INFO)
    module(f"import logging\n{begin}\ndef speak(text): logging.getLogger('of.it').info(text)\n")
    async with function_worker("speaker:speak", setup="speaker:load" if "load()" in begin else None) as worker:
        assert logged(caplog) == [("root", "loading")]
        await worker.execute("working")
    assert logged(caplog) == [("root", "loading"), ("of.it", "working")]


async def test_a_start_that_fails_has_told_why(module: Write, caplog: pytest.LogCaptureFixture) -> None:
    module("import logging\ndef speak(text): ...\ndef load():\n    logging.warning('no table')\n    raise ValueError\n")
    with pytest.raises(FunctionError):
        async with function_worker("speaker:speak", setup="speaker:load"):
            pass
    assert logged(caplog) == [("root", "no table")]


@pytest.mark.parametrize("level", [logging.INFO, 15])
@pytest.mark.parametrize("where", ["at the import", "in the setup"])
@pytest.mark.parametrize(
    "configure",
    [
        "logging.basicConfig(level={level}, stream=stream)",
        "root.addHandler(logging.StreamHandler(stream)); root.setLevel({level})",
        "logging.config.dictConfig({{'version': 1, 'handlers': {{'x': {{'class': 'logging.StreamHandler', "
        "'stream': stream}}}}, 'root': {{'level': {level}, 'handlers': ['x']}}}})",
    ],
    ids=["basicConfig", "addHandler", "dictConfig"],
)
async def test_who_configures_logging_gets_what_it_configured(
    configure: str, where: str, level: int, module: Write, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    module(
        "import io, logging, logging.config\n"
        "root, stream = logging.getLogger(), io.StringIO()\n"
        f"def load(): {configure.format(level=level)}\n"
        f"{'load()' if where == 'at the import' else ''}\n"
        "def speak(text):\n"
        "    logging.warning(text)\n"
        "    return root.level, stream.getvalue().count(text)\n"
    )
    setup = None if where == "at the import" else "speaker:load"
    async with function_worker("speaker:speak", setup=setup) as worker:
        assert await worker.execute("to itself") == [level, 1]
    assert logged(caplog) == []


async def test_a_level_that_nobody_configured_is_not_left_behind(
    module: Write, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    module("import logging\nlogging.basicConfig()\ndef speak(_): return logging.getLogger().level\n")
    async with function_worker("speaker:speak") as worker:
        assert await worker.execute(None) == logging.WARNING


async def test_lines_leave_whole_and_at_once_whoever_prints_them(
    module: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    module(
        "import os, signal, threading\n"
        "def print_much(name):\n"
        "    for i in range(200): print(name, i, 'of', 200)\n"
        "def speak(text):\n"
        "    threads = [threading.Thread(target=print_much, args=[name]) for name in 'ab']\n"
        "    for thread in threads: thread.start()\n"
        "    for thread in threads: thread.join()\n"
        "    print('x' * 5000, 'end'); print('not whole', end='')\n"
        "    if text == 'die': print(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    async with function_worker("speaker:speak") as one, function_worker("speaker:speak") as other:
        async with anyio.create_task_group() as group:
            group.start_soon(one.execute, "live")
            with pytest.raises(WorkerDied):
                await other.execute("die")
    lines = capfd.readouterr().out.splitlines()
    for worker in (one, other):
        label = f"[speak-{worker.pid}] "
        mine = Counter(line.removeprefix(label) for line in lines if line.startswith(label))
        expected = [f"{name} {i} of 200" for name in "ab" for i in range(200)]
        assert mine == Counter([*expected, "x" * 5000 + " end", "not whole"])
    assert len(lines) == 2 * 402


async def test_a_line_without_an_end_is_not_held_for_ever(module: Write, capfd: pytest.CaptureFixture[str]) -> None:
    module(
        "def speak(count):\n"
        "    for _ in range(count): print('x' * 100, end='')\n"
        "    print()\n"
        "    print('half', end=' ', flush=True); print('a line')\n"
    )
    async with function_worker("speaker:speak") as worker:
        await worker.execute(1000)
    label = f"[speak-{worker.pid}] "
    assert capfd.readouterr().out.splitlines() == [label + "x" * 100_000, label + "half a line"]
