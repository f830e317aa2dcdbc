"""What happens when it goes wrong: twelve faults, in our pool and in nine others, in one go.

    python -m bench.faults                       # all of it, some five minutes
    python -m bench.faults --pool loky --fault "SIGKILL mid-task"

Each cell runs in a process of its own, two workers, started by "spawn"; eight seconds without an end are a hang.
A cell in bold is not as it should be: the faulty task must end in an error of its own, its neighbours in their
results, and the pool must go on. The exit status says whether all of *ours* are as they should be. A pool that is not
installed has no column.
"""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from bench.fault_cell import CELLS, LIMIT, WORKERS
from bench.fault_pools import POOLS
from bench.fault_tasks import processes_of

Verdict = tuple[bool, str]
HARD_LIMIT = 60.0  # seconds for a cell with everything around it


def main() -> int:
    options = parse()
    missing = [pool for pool in options.pool if POOLS[pool].needs and not find_spec(POOLS[pool].needs)]
    options.pool = [pool for pool in options.pool if pool not in missing]
    with ThreadPoolExecutor(options.jobs) as threads:
        futures = {
            (fault, pool): threads.submit(run_cell, pool, fault) for fault in options.fault for pool in options.pool
        }
        verdicts = {cell: future.result() for cell, future in futures.items()}
    print(as_table(options.fault, options.pool, verdicts))
    if missing:
        print(f"\nNot installed: {', '.join(missing)}.")
    return 1 if any(not good for (_, pool), (good, _) in verdicts.items() if pool.startswith("worker-")) else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--pool", action="append", choices=POOLS, help="only this pool (may be repeated)")
    parser.add_argument("--fault", action="append", choices=CELLS, help="only this fault (may be repeated)")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time (2)")
    options = parser.parse_args()
    options.pool, options.fault = options.pool or list(POOLS), options.fault or list(CELLS)
    return options


def run_cell(pool: str, fault: str) -> Verdict:
    """Run one cell and leave nothing of it behind, whatever the pool thinks of that."""
    command = [sys.executable, "-m", "bench.fault_cell", pool, fault]
    if fault.startswith("parent SIGKILLed"):
        with tempfile.TemporaryDirectory() as directory:
            return after_the_death_of_the_parent([*command, directory], Path(directory))
    return ordinary(command)


def ordinary(command: Sequence[str]) -> Verdict:
    # Files, not pipes: the end of a pipe comes only when whatever outlived the cell has let go of it too.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, stdout=output, stderr=errors, start_new_session=True) as cell:
            try:
                cell.wait(HARD_LIMIT)
            except subprocess.TimeoutExpired:
                return False, f"hang (> {HARD_LIMIT:.0f} s)"
            finally:
                kill_session(cell)
        output.seek(0)
        errors.seek(0)
        for line in output:
            if line.startswith('{"good"'):
                verdict = json.loads(line)
                return verdict["good"], verdict["text"]
        last = (errors.read().strip().splitlines() or [f"exit status {cell.returncode}"])[-1]
        return False, f"the parent died: {last}"


def after_the_death_of_the_parent(command: Sequence[str], directory: Path) -> Verdict:
    """Kill the pool's process once its workers are there; count those that still live after eight seconds."""
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True) as cell:
        try:
            deadline = time.monotonic() + HARD_LIMIT
            while not (directory / "ready").exists():
                if cell.poll() is not None or time.monotonic() > deadline:
                    return False, "did not start"
                time.sleep(0.02)
            handles = [os.pidfd_open(int(path.name)) for path in directory.iterdir() if path.name.isdigit()]
            cell.kill()
            living = survivors(handles)
        finally:
            kill_session(cell)
    return not living, f"{living}/{WORKERS} alive"


def survivors(handles: Sequence[int]) -> int:
    """Wait for processes to end; return how many did not within the limit."""
    deadline, left = time.monotonic() + LIMIT, list(handles)
    while left and (ended := select.select(left, [], [], max(0, deadline - time.monotonic()))[0]):
        left = [handle for handle in left if handle not in ended]
    for handle in left:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    for handle in handles:
        os.close(handle)
    return len(left)


def kill_session(cell: "subprocess.Popen[bytes]") -> None:
    """End all that the cell started and that stayed in its session or group."""
    cell.kill()
    for pid in processes_of(cell.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def as_table(faults: Sequence[str], pools: Sequence[str], verdicts: dict[tuple[str, str], Verdict]) -> str:
    lines = [f"| fault | {' | '.join(pools)} |", f"| --- |{' --- |' * len(pools)}"]
    for fault in faults:
        cells = (f"{text}" if good else f"**{text}**" for good, text in (verdicts[fault, pool] for pool in pools))
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    good = [f"{sum(verdicts[fault, pool][0] for fault in faults)} of {len(faults)}" for pool in pools]
    lines.append(f"| as it should be | {' | '.join(good)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
