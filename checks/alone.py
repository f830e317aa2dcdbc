"""Prove that this environment holds one package of the workspace and what it declares, and no other.

    python checks/alone.py worker-spawn            # only worker-spawn, worker-ipc, worker-pool (and the test kit)
    python checks/alone.py worker-spawn --lowest   # and each dependency at its lower bound, not above

The first form is what makes `nox -s tests` trustworthy: an import that is not declared has nothing to find. The
second keeps `nox -s minimums` honest: a test tool that asks for a newer version would hide a false lower bound.
"""

import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement  # pytest depends on it, so it is in every test environment

from imports import import_all

TESTKIT = "worker-testkit"  # in every test group; it depends on anyio and pytest alone


def requirements(package: str) -> Iterator[Requirement]:
    """Yield what the package declares that it needs on this Python."""
    project = tomllib.loads(Path(f"packages/{package}/pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def closure(package: str) -> set[str]:
    """Return the package and every package of the workspace that it needs."""
    siblings = [requirement.name for requirement in requirements(package) if requirement.name.startswith("worker-")]
    return {package}.union(*map(closure, siblings))


def strangers(package: str) -> set[str]:
    """Return the packages of the workspace that are installed here and that nothing declared."""
    installed = {dist.name for dist in metadata.distributions() if Path(f"packages/{dist.name}").is_dir()}
    return installed - closure(package) - {TESTKIT}


def masked(package: str) -> Iterator[str]:
    """Yield the dependencies that are installed above the lower bound at which they are supposed to be tested."""
    for requirement in requirements(package):
        bounds = [clause.version for clause in requirement.specifier if clause.operator in {">=", "=="}]
        installed = metadata.version(requirement.name)
        if not any(Requirement(f"{requirement.name}=={bound}").specifier.contains(installed) for bound in bounds):
            yield f"{requirement} is installed as {installed}"


def main(package: str, *options: str) -> str | None:
    """Return what is wrong, in one sentence, or None."""
    if extra := strangers(package):
        return f"{package} is not alone here: {', '.join(sorted(extra))}"
    if "--lowest" in options and (above := list(masked(package))):
        return f"{package} is not tested at its lower bounds: {'; '.join(above)}"
    import_all(package.replace("-", "_"))
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
