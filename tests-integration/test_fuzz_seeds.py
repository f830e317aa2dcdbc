"""What the fuzzer begins with, and whatever once broke something, holds. `nox -s fuzz` looks for more."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SEEDS = sorted(ROOT.glob("fuzz/seeds/*"))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.name)
def test_a_seed_holds(seed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from fuzz import targets

    targets.run(seed.read_bytes())
