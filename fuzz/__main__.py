"""Fuzz, guided by coverage: `python -m fuzz [options of libFuzzer] [folders of inputs]`."""

import sys

import atheris

with atheris.instrument_imports(include=["worker_ipc"]):
    from fuzz import targets

if __name__ == "__main__":
    atheris.Setup(sys.argv, targets.run)
    atheris.Fuzz()
