"""One exiftool, kept open, over all the pictures of a folder (needs exiftool and ImageMagick).

$ python examples/exif_folder.py
a.jpg: 70x46
b.jpg: 128x128
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import anyio

from worker_ipc import ChildStream, open_stream
from worker_pool import WorkPool
from worker_spawn import spawned_worker

CONVERT = shutil.which("magick") or shutil.which("convert") or "convert"


async def size(exiftool: ChildStream[str], picture: Path) -> str:
    """Ask for one file; exiftool says ``{ready}`` after each answer."""
    for argument in ("-json", "-ImageSize", str(picture), "-execute"):
        await exiftool.send(argument)
    lines = []
    while (line := await exiftool.receive()) != "{ready}":
        lines.append(line)
    return json.loads("".join(lines))[0]["ImageSize"]


def exiftool() -> spawned_worker[Path, str]:
    return spawned_worker(["exiftool", "-stay_open", "True", "-@", "-"], open=open_stream, execute=size)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, image in {"a": "rose:", "b": "granite:"}.items():
            subprocess.run([CONVERT, image, f"{folder}/{name}.jpg"], check=True)
        pictures = sorted(Path(folder).glob("*.jpg"))
        async with WorkPool(exiftool, max_size=2) as pool, pool.stream(pictures, ordered=True) as outcomes:
            async for outcome in outcomes:
                print(f"{outcome.input.name}: {outcome.unwrap()}")


if __name__ == "__main__":
    anyio.run(main)
