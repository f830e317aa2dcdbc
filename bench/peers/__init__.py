"""One small file per peer: the shortest fair use of that library, as its own documentation says.

A peer for ordinary code has `open_pool(**options)`, a context manager that gives `run(inputs)`, an iterable of
results. A peer for async code has an async one, whose `run(inputs, keep)` calls `keep` with each result.
"""
