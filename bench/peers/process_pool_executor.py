"""The standard library's `concurrent.futures.ProcessPoolExecutor`."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from bench.load import Run
from bench.work import double


@contextmanager
def open_pool(workers: int, chunksize: int) -> Iterator[Run]:
    with ProcessPoolExecutor(workers) as executor:
        yield lambda inputs: executor.map(double, inputs, chunksize=chunksize)
