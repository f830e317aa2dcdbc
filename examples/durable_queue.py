"""A queue that survives kill -9: the first run dies in the middle, the second one finishes.

$ python examples/durable_queue.py
put 6 jobs
the first run was killed
the second run finished; every job was done
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio

from worker_pool import WorkPool
from worker_sources import SqliteSource


async def run(database: str, done: Path, die_after: int) -> None:
    """Work through the queue; each job leaves a file, so that doing one twice does no harm."""
    async with SqliteSource(database, lease=0.5) as jobs:

        async def work(job: str) -> None:
            (done / job).touch()
            if len(list(done.iterdir())) == die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            if len(list(done.iterdir())) == 6:
                jobs.close()

        async with WorkPool(lambda: work, max_size=2) as pool:
            await pool.process(jobs)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database, done = f"{folder}/jobs.db", Path(folder, "done")
        done.mkdir()
        async with SqliteSource(database) as jobs:
            for number in range(6):
                await jobs.put(f"job-{number}")
        print("put 6 jobs")
        again = [sys.executable, __file__, database, str(done)]
        if subprocess.run([*again, "3"]).returncode == -signal.SIGKILL:
            print("the first run was killed")
        subprocess.run([*again, "0"], check=True)
        print(
            f"the second run finished; {'every job was done' if len(list(done.iterdir())) == 6 else 'jobs are missing'}"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        anyio.run(run, sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        anyio.run(main)
