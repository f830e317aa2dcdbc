"""One contender, once, in a process of its own, so that nobody's heap or threads disturb anybody else.

    python -m bench.one peers.process_pool_executor '{"workers": 2, "chunksize": 64}'

prints one number. A module with `open_pool` is measured in inputs per second; any other has `value(**options)`,
and knows its own unit.
"""

import importlib
import json
import sys
from types import ModuleType
from typing import Any

from bench.load import measure, measure_async
from bench.loops import run_on


def main() -> None:
    module = importlib.import_module(f"bench.{sys.argv[1]}")
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    print(json.dumps(module.value(**options) if hasattr(module, "value") else throughput(module, **options)))


def throughput(module: ModuleType, *, seconds: float, loop: str | None = None, **options: Any) -> float:
    """Inputs per second, on the event loop named, if any (`asyncio`, `uvloop` or `trio`)."""
    if loop is None:
        with module.open_pool(**options) as run:
            return measure(run, seconds).per_second

    async def inside() -> float:
        async with module.open_pool(**options) as run:
            return (await measure_async(run, seconds)).per_second

    return run_on(loop, inside)


if __name__ == "__main__":
    main()
