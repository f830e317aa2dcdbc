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

from worker_pool import WorkPool
from worker_sources import QueueSource

CONVERT = shutil.which("magick") or shutil.which("convert") or "convert"


async def compress(image: Path) -> None:
    """One conversion is one program run, so a plain async function is the worker; cancelled, it ends the program."""
    await anyio.run_process([CONVERT, str(image), "-quality", "60", str(image.with_suffix(".jpg"))])


class ImageCompressor(WorkPool[Path, None]):
    """Converts what it is given, at most two images at a time, until it is finished."""

    def __init__(self) -> None:
        super().__init__(lambda: compress, max_size=2)
        self.pending: QueueSource[Path] = QueueSource()

    def begin(self, tasks: TaskGroup) -> None:
        tasks.start_soon(self.process, self.pending)

    def convert(self, *images: Path) -> None:
        for image in images:
            self.pending.put_nowait(image)

    def finish(self) -> None:
        self.pending.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        images = [Path(folder, f"{name}.bmp") for name in ("rose", "granite")]
        for image in images:
            subprocess.run([CONVERT, f"{image.stem}:", str(image)], check=True)
        async with ImageCompressor() as compressor, anyio.create_task_group() as tasks:
            compressor.begin(tasks)
            compressor.convert(*images)
            compressor.finish()
        for image in images:
            small = image.with_suffix(".jpg")
            print(f"{small.name}: {'smaller' if small.stat().st_size < image.stat().st_size else 'larger'}")


if __name__ == "__main__":
    anyio.run(main)
