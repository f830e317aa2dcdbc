"""What the documents show is true: links lead somewhere, imports exist, the first example runs as it stands."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")])

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def python_blocks(document: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def parse(block: str) -> ast.Module:
    return compile(block, "<document>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@every_document
def test_links_lead_to_files(document: Path) -> None:
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "code", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose)
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (document.parent / target).exists()] == []


@every_document
def test_python_blocks_are_python(document: Path) -> None:
    for block in python_blocks(document):
        parse(block)


@every_document
def test_what_python_blocks_import_exists(document: Path) -> None:
    missing = []
    for block in python_blocks(document):
        for node in ast.walk(parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("worker_"):
                module = importlib.import_module(node.module or "")
                missing += [f"{node.module}.{name.name}" for name in node.names if not hasattr(module, name.name)]
    assert missing == []


def run_files(document: Path, folder: Path) -> str:
    """Write the blocks that begin with a file name beside each other, run main.py, return what it prints."""
    for block in python_blocks(document):
        if name := re.match(r"# (\w+\.py)", block):
            (folder / name[1]).write_text(block)
    command = [sys.executable, "main.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_example_runs(tmp_path: Path) -> None:
    lines = run_files(ROOT / "README.md", tmp_path).splitlines()
    assert sorted(lines) == ["Sent a- Received a-a-", "Sent b- Received b-b-", "Sent c- Received c-c-"]


def test_the_example_of_worker_spawn_runs(tmp_path: Path) -> None:
    assert run_files(ROOT / "packages/worker-spawn/README.md", tmp_path) == "a-a-\n"


@pytest.mark.parametrize("folder", [".", "packages/worker-ipc", "packages/worker-spawn", "packages/worker-stack"])
def test_an_example_of_two_files_says_where_they_are_and_where_to_run_them(folder: str) -> None:
    assert "# main.py: in the same folder, and run from there\n" in (ROOT / folder / "README.md").read_text()


def test_the_example_of_the_stack_runs(tmp_path: Path) -> None:
    lines = run_files(ROOT / "packages/worker-stack/README.md", tmp_path).splitlines()
    assert sorted(lines) == ["HELLO!", "WORLD!"]
