"""mpire: multiprocessing with worker state and insights."""

from collections.abc import Iterator
from contextlib import contextmanager

from mpire import WorkerPool

from bench.load import Run
from bench.work import double


@contextmanager
def open_pool(workers: int, chunksize: int) -> Iterator[Run]:
    with WorkerPool(n_jobs=workers, keep_alive=True) as pool:
        yield lambda inputs: pool.imap_unordered(double, inputs, chunk_size=chunksize)
