"""pebble: a process pool with timeouts and recycling."""

from collections.abc import Iterator
from contextlib import contextmanager

from pebble import ProcessPool

from bench.load import Run
from bench.work import double


@contextmanager
def open_pool(workers: int, chunksize: int) -> Iterator[Run]:
    with ProcessPool(max_workers=workers) as pool:
        yield lambda inputs: pool.map(double, inputs, chunksize=chunksize).result()
