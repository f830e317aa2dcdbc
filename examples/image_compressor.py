"""The original system's example: a pool that converts images on demand, queueing as needed (needs ImageMagick).

$ python examples/image_compressor.py
rose.jpg: smaller
granite.jpg: smaller
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from worker_pool import Outcome, Success, WorkPool
from worker_sources import QueueSource

CONVERT = shutil.which("magick") or shutil.which("convert") or "convert"


async def compress(path: Path) -> Path:
    """One conversion is one program run: a plain async function is a worker."""
    target = path.with_suffix(".jpg")
    await anyio.run_process([CONVERT, str(path), "-quality", "60", str(target)])
    return target


class ImageCompressor:
    """Converts what it is given, at most two at a time, until it is finished."""

    def __init__(self, pool: WorkPool[Path, Path]) -> None:
        self._pool = pool
        self._pending: QueueSource[Path] = QueueSource()

    def begin(self, tasks: TaskGroup) -> None:
        tasks.start_soon(self._run)

    def convert(self, *images: Path) -> None:
        for image in images:
            self._pending.put_nowait(image)

    def finish(self) -> None:
        self._pending.close()

    async def _run(self) -> None:
        async with self._pool.stream(self._pending, ordered=True) as outcomes:
            async for outcome in outcomes:
                report(outcome)


def report(outcome: Outcome[Path, Path]) -> None:
    ok = isinstance(outcome, Success) and outcome.result.stat().st_size < outcome.input.stat().st_size
    print(f"{outcome.input.with_suffix('.jpg').name}: {'smaller' if ok else 'failed'}")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        images = [Path(folder, f"{name}.bmp") for name in ("rose", "granite")]
        for image in images:
            subprocess.run([CONVERT, f"{image.stem}:", str(image)], check=True)
        async with WorkPool(lambda: compress, max_size=2) as pool, anyio.create_task_group() as tasks:
            compressor = ImageCompressor(pool)
            compressor.begin(tasks)
            compressor.convert(*images)
            compressor.finish()


if __name__ == "__main__":
    anyio.run(main)
