"""loky: a ProcessPoolExecutor that survives its workers."""

from collections.abc import Iterator
from contextlib import contextmanager

from loky import get_reusable_executor

from bench.load import Run
from bench.work import double


@contextmanager
def open_pool(workers: int, chunksize: int) -> Iterator[Run]:
    with get_reusable_executor(max_workers=workers) as executor:
        yield lambda inputs: executor.map(double, inputs, chunksize=chunksize)
