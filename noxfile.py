#!/usr/bin/env -S uv run --script

# /// script
# dependencies = ["nox>=2026.10"]
# ///

"""Every check of this project is a session. `nox -l` lists them, `nox` runs the default ones.

One session: `nox -s lint`. One package on one Python: `nox -s "tests-3.11(worker-ipc)"`.
What stands behind `--` goes to pytest: `nox -s "tests-3.11(worker-pool)" -- -k shutdown`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv"
nox.options.error_on_external_run = True  # a tool that the session did not install is a mistake
nox.options.download_python = "never"  # we test the Pythons that are here; we bring none
nox.options.allow_parallel = True
if not sys.argv[1:]:
    # The whole run keeps every core busy, or it would take twice as long. What is chosen by name runs alone, and its
    # output comes as it is written.
    nox.options.parallel = (os.cpu_count() or 1) + 1  # the tests wait for processes as much as they compute

SUPPORTED = ["3.11", "3.12", "3.13", "3.14"]
PACKAGES = ["worker-ipc", "worker-pool", "worker-sources", "worker-spawn", "worker-testkit"]
META = "worker-stack"  # no code of its own: it only names four of them
META_BRINGS = ["worker-ipc", "worker-pool", "worker-sources", "worker-spawn"]

# `uv run nox` says in UV which uv it is, so nox and its sessions use that one, on PATH or not.
UV = os.environ.get("UV") or shutil.which("uv") or "uv"


def interpreter(version: str) -> str | None:
    """Ask uv for a Python of this version that really runs; None if this machine has none.

    pyenv puts a shim for every version it knows of on PATH, and most of those fail when run. So its real
    interpreters are searched too, by their exact names.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob(f"versions/{version}.*/bin")
    path = os.pathsep.join([os.environ["PATH"], *map(str, pyenv)])
    found = subprocess.run(
        [UV, "python", "find", "--no-python-downloads", "--no-project", "--system", version],
        env={**os.environ, "UV_PYTHON_SEARCH_PATH": path},
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() if found.returncode == 0 else None


def pythons() -> list[str]:
    """The supported versions that are here, oldest first, each made visible to nox by its plain name."""
    here = []
    for version in SUPPORTED:
        if not (path := interpreter(version)):
            continue
        here.append(version)
        name = shutil.which(f"python{version}")
        if name is None or subprocess.run([name, "-c", ""], capture_output=True).returncode:
            os.environ["PATH"] = os.pathsep.join([str(Path(path).parent), os.environ["PATH"]])
    return here


PYTHONS = pythons()
OLDEST = PYTHONS[0]

each_package = nox.parametrize("package", PACKAGES, ids=PACKAGES)


def module(package: str) -> str:
    return package.replace("-", "_")


def with_siblings(package: str) -> set[str]:
    """Return the package and those of the workspace that it declares, and they in turn."""
    declared = nox.project.load_toml(f"packages/{package}/pyproject.toml")["project"]["dependencies"]
    siblings = [text.split("==")[0] for text in declared if text.startswith("worker-")]
    return {package}.union(*map(with_siblings, siblings))


def sync(session: nox.Session, *args: str) -> None:
    """Make the session's environment exactly what `args` ask for."""
    session.run_install(
        UV,
        "sync",
        "--quiet",
        "--no-default-groups",
        f"--python={session.virtualenv.location}",
        *args,
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
        external=True,
    )


def pytest(session: nox.Session, *args: str) -> None:
    """Run pytest with nothing forgiven: development mode, and every warning an error (see pyproject.toml).

    Compiled modules are kept beside the environment, whatever the machine's settings: thousands of children import
    the same ones. Temporary files are the session's own: two runs that tidy up the same folder trip over one another.
    """
    session.create_tmp()
    compiled = {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": f"{session.virtualenv.location}/compiled"}
    session.run("python", "-X", "dev", "-W", "error", "-m", "pytest", *args, *session.posargs, env=compiled)


def check(session: nox.Session, script: str, *args: str) -> None:
    session.run("python", f"checks/{script}.py", *args)


# The longest comes first: a run on many cores ends when its last session does.
@nox.session(python=OLDEST)
def integration(session: nox.Session) -> None:
    """The whole stack on real processes, and every example; the versions must agree. The oldest Python, for time."""
    sync(session, "--all-packages", "--group", "integration")
    session.run(UV, "pip", "check", f"--python={session.virtualenv.location}", external=True)
    pytest(session, "tests-integration")


@nox.session(python=PYTHONS)
@each_package
def tests(session: nox.Session, package: str) -> None:
    """One package with its own dependencies and nothing else from the workspace."""
    sync(session, "--package", package, "--group", "test")
    check(session, "alone", package)
    pytest(session, f"packages/{package}")


@nox.session(python=OLDEST)
@each_package
def minimums(session: nox.Session, package: str) -> None:
    """The oldest versions that our lower bounds promise, on the oldest Python."""
    path = f"packages/{package}"
    session.install("--resolution=lowest-direct", "-e", path, f"--group={path}/pyproject.toml:test")
    check(session, "alone", package, "--lowest")
    pytest(session, path)


@nox.session(python=OLDEST)
def wheels(session: nox.Session) -> None:
    """Each wheel installs alone and imports; the ipc wheel alone is lean and holds a conversation."""
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run(UV, "build", "--quiet", "--all-packages", "--no-sources", f"--out-dir={dist}", external=True)

    def alone(package: str, *command: str) -> None:
        # Our wheels by their paths: neither a registry nor a cache can answer for one of our own names.
        wheels = [next(dist.glob(f"{module(name)}-*.whl")) for name in sorted(with_siblings(package))]
        options = ["--isolated", "--no-project", f"--python={OLDEST}", *(f"--with={wheel}" for wheel in wheels)]
        session.run(UV, "run", "--quiet", *options, "python", *command, external=True)

    for package in PACKAGES:
        alone(package, "checks/imports.py", module(package))
    alone(META, "checks/imports.py", *map(module, META_BRINGS))
    alone("worker-ipc", "checks/lean_child.py")
    alone("worker-ipc", "checks/conversation.py")


@nox.session(python=OLDEST)
def lint(session: nox.Session) -> None:
    """Style (ruff), the walls between and inside the packages (import-linter), the house rules."""
    sync(session, "--only-group", "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    # Nothing of ours is installed here: the linter reads the sources and does not run them.
    sources = os.pathsep.join(f"packages/{package}/src" for package in PACKAGES)
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": sources})
    check(session, "house_rules")


@nox.session(python=OLDEST)
def planted(session: nox.Session) -> None:
    """The checks themselves: each fault, planted in a copy of the tree, is caught by the session that should."""
    sync(session, "--only-group", "planted")
    pytest(session, "checks")


@nox.session(python=OLDEST)
@each_package
def typecheck(session: nox.Session, package: str) -> None:
    """Strict types inside (mypy, pyright), type-level tests, complete types outside (--verifytypes)."""
    sync(session, "--all-packages", "--group", "typing")
    path = Path("packages", package)
    typed = [f"{path}/src", *map(str, path.glob("tests/typing_api.py"))]
    python = f"--pythonpath={session.virtualenv.location}/bin/python"
    session.run("mypy", *typed)
    session.run("pyright", python, *typed)
    session.run("pyright", python, "--ignoreexternal", "--verifytypes", module(package))


@nox.session(python=OLDEST, default=False, allow_parallel=False)
def bench(session: nox.Session) -> None:
    """What it costs, beside the peers. `-- --check` fails when a recorded ratio got worse."""
    sync(session, "--all-packages", "--group", "bench")
    npm = ["npm", "install", "--prefix", "bench", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    session.run(*npm, external=True)  # the peers from Node, whose install scripts have no business here
    session.run("python", "-m", "bench", *session.posargs)


@nox.session(python=OLDEST, default=False)
@nox.parametrize(  # the longest first, as above
    "tests",
    [
        "packages/worker-spawn",
        "tests-integration",
        "packages/worker-ipc",
        "packages/worker-pool",
        "packages/worker-sources",
    ],
    ids=["worker-spawn", "integration", "worker-ipc", "worker-pool", "worker-sources"],
)
def stress(session: nox.Session, tests: str) -> None:
    """Every test marked `stress`, 200 times over: two hours; half of it with `nox --parallel 3 -s stress`."""
    sync(session, "--all-packages", "--group", "integration")
    pytest(session, "-m", "stress", "-p", "worker_testkit.repeat", "--repeat=200", tests)


@nox.session(python=OLDEST, default=False, allow_parallel=False)
def reliability(session: nox.Session) -> None:
    """Write the table of docs/reliability.md: which test proves which promise, and whether it did."""
    sync(session, "--all-packages", "--group", "integration")
    record = Path(session.create_tmp()) / "faults.jsonl"
    record.unlink(missing_ok=True)
    for tests in (*(f"packages/{package}" for package in PACKAGES), "tests-integration"):
        pytest(session, f"--fault-record={record}", tests)
    table = ["docs/faults.toml", str(record), "--into", "docs/reliability.md"]
    session.run("python", "-m", "worker_testkit.faults", *table)


@nox.session(python=OLDEST, default=False, allow_parallel=False)
def soak(session: nox.Session) -> None:
    """Half an hour of mixed load and random kills, ten thousand starts and ends. The default run has a minute of it."""
    sync(session, "--all-packages", "--group", "integration")
    session.env["SOAK_SECONDS"] = "900"  # on each event loop
    session.env["SOAK_CYCLES"] = "10000"  # on each; ten minutes or so
    pytest(session, "-s", "-o", "faulthandler_timeout=0", "tests-integration/soak")


@nox.session(python=OLDEST, default=False, allow_parallel=False)
def fuzz(session: nox.Session) -> None:
    """Ten minutes of hostile bytes for every decoder and the child's channel (atheris)."""
    sync(session, "--all-packages", "--group", "fuzz")
    found = Path(session.create_tmp()) / "found"  # kept between runs; what broke something belongs into fuzz/seeds
    found.mkdir(exist_ok=True)
    session.run("python", "-m", "fuzz", "-max_total_time=600", *session.posargs, str(found), "fuzz/seeds")


if __name__ == "__main__":
    nox.main()
