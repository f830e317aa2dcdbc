"""Rules that hold across the packages; no single package can check them."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
WITH_CODE = [package for package in PACKAGES if package.name != "worker-stack"]

RUN_THE_EXAMPLE = "python3 -m pip install uv && python3 -m uv run examples/double_the_input.py"
RUN_THE_TESTS = "python3 -m pip install uv && python3 -m uv run nox"

every_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
every_package_with_code = pytest.mark.parametrize("package", WITH_CODE, ids=lambda path: path.name)


def configuration(package: Path) -> dict:
    return tomllib.loads((package / "pyproject.toml").read_text())


def project(package: Path) -> dict:
    return configuration(package)["project"]


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0]


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git work tree: what is committed cannot be told")
    return [ROOT / name for name in listing.stdout.split("\0") if name]


# --- Versions ----------------------------------------------------------------------------------------------------


def test_there_is_one_version() -> None:
    assert len({project(package)["version"] for package in PACKAGES}) == 1


@every_package
def test_siblings_are_pinned_to_exactly_that_version(package: Path) -> None:
    siblings = [text for text in project(package)["dependencies"] if text.startswith("worker-")]
    assert all(text == f"{name_of(text)}=={project(package)['version']}" for text in siblings)


def test_the_changelog_describes_this_version_or_the_next() -> None:
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] in {"Unreleased", project(PACKAGES[0])["version"]}


def test_the_stack_brings_the_four_packages_and_nothing_else() -> None:
    brought = {name_of(text) for text in project(ROOT / "packages/worker-stack")["dependencies"]}
    assert brought == {"worker-ipc", "worker-pool", "worker-sources", "worker-spawn"}


@every_package
def test_all_support_the_same_pythons_under_the_same_license(package: Path) -> None:
    assert project(package)["requires-python"] == ">=3.11"
    assert project(package)["license"] == "MIT"
    assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


# --- Dependencies ------------------------------------------------------------------------------------------------


BROUGHT_BY_TYPE_CHECKERS = {"typing_extensions"}  # only ever imported for them, under TYPE_CHECKING


def imported_by(package: Path) -> set[str]:
    names = set()
    for source in package.glob("src/**/*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - BROUGHT_BY_TYPE_CHECKERS


@every_package_with_code
def test_every_import_is_declared(package: Path) -> None:
    extras = [text for extra in project(package).get("optional-dependencies", {}).values() for text in extra]
    declared = {name_of(text).replace("-", "_") for text in project(package)["dependencies"] + extras}
    own = package.name.replace("-", "_")
    assert imported_by(package) - declared - {own} == set()


@every_package_with_code
def test_every_dependency_is_imported(package: Path) -> None:
    declared = {name_of(text).replace("-", "_") for text in project(package)["dependencies"]}
    assert declared - imported_by(package) == set()


@every_package
def test_every_dependency_states_a_bound(package: Path) -> None:
    groups = configuration(package).get("dependency-groups", {}).values()
    texts = [text for group in groups for text in group if isinstance(text, str)]
    external = [text for text in project(package)["dependencies"] + texts if not text.startswith("worker-")]
    assert [text for text in external if ">=" not in text] == []


@every_package_with_code
def test_types_are_shipped(package: Path) -> None:
    assert (package / "src" / package.name.replace("-", "_") / "py.typed").is_file()


# --- The two commands --------------------------------------------------------------------------------------------


def test_the_readme_states_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text().splitlines()
    assert RUN_THE_EXAMPLE in readme
    assert RUN_THE_TESTS in readme


def test_the_main_job_runs_the_readme_test_command_verbatim() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines[-1] == RUN_THE_TESTS  # the last line, so that its exit status is the script's


# --- What is not committed ---------------------------------------------------------------------------------------


def test_no_lock_file_is_committed() -> None:
    locks = {"uv.lock", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", "poetry.lock"}
    assert [path for path in tracked_files() if path.name in locks] == []


def test_no_address_of_a_registry_is_committed() -> None:
    address = re.compile(r"//[\w.-]*(py[p]i|npm[j]s|registr[y]\.)[\w.-]*/|extra-inde[x]-url|tool\.uv\.inde[x]")
    found = []
    for path in tracked_files():
        if path.is_file():
            found += [path for line in path.read_text(errors="ignore").splitlines() if address.search(line)]
    assert found == []
