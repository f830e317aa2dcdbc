"""joblib: parallel loops over loky."""

from collections.abc import Iterator
from contextlib import contextmanager

from joblib import Parallel, delayed

from bench.load import Run
from bench.work import double


@contextmanager
def open_pool(workers: int, chunksize: int) -> Iterator[Run]:
    with Parallel(n_jobs=workers, batch_size=chunksize, return_as="generator_unordered") as parallel:
        yield lambda inputs: parallel(delayed(double)(item) for item in inputs)
