"""The standard library's `multiprocessing.Pool`, in its fastest form."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager

from bench.load import Run
from bench.work import double


@contextmanager
def open_pool(workers: int, chunksize: int) -> Iterator[Run]:
    with multiprocessing.Pool(workers) as pool:
        yield lambda inputs: pool.imap_unordered(double, inputs, chunksize=chunksize)
