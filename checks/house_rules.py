"""The house rules that no linter knows. Run by `nox -s lint`; reads the sources, imports nothing of ours.

1. A file has at most 300 lines, a function at most 50. What is longer stands in the root pyproject.toml, under
   `[tool.house-rules.longer]`, with the reason, by name or (up to 500 lines) by pattern; an entry that is no longer
   needed has to go.
2. A public module (no leading underscore anywhere in its path) has an `__all__` that names exactly what it
   defines or re-exports (`from ._x import Y as Y`) without a leading underscore.
3. Every name in an `__all__` has a docstring where it is defined, and so has each of its public methods. A constant
   or an alias has a comment above it or its block, or a string below.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

MAX_FILE = 300  # about five screens: one idea, read in one sitting
MAX_FUNCTION = 50  # one screen
MAX_BY_PATTERN = 500  # an excuse for many files at once is not one for any length

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """One parsed file."""

    path: Path
    lines: list[str]
    tree: ast.Module

    @classmethod
    def read(cls, path: Path) -> "Module":
        """Parse the file."""
        text = path.read_text()
        return cls(path, text.splitlines(), ast.parse(text))


# --- 1. Length ---------------------------------------------------------------------------------------------------


def too_long(module: Module, name: str) -> Iterator[tuple[str, int, int]]:
    """Yield (where, lines, limit) for the file and for each function in it that is over its limit."""
    if len(module.lines) > MAX_FILE:
        yield name, len(module.lines), MAX_FILE
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                yield f"{name}:{node.name}", length, MAX_FUNCTION


def check_lengths(root: Path, longer: dict[str, str]) -> Iterator[str]:
    """Compare what is too long with what may be."""
    used = set()
    for path in sorted(sources(root)):
        for where, length, limit in too_long(Module.read(path), path.relative_to(root).as_posix()):
            excuse = next((entry for entry in longer if excuses(entry, where, length)), None)
            used.add(excuse)
            if excuse is None:
                yield f"{where}: {length} lines, the limit is {limit}"
    for entry, reason in longer.items():
        if entry not in used:
            yield f"{entry}: listed in [tool.house-rules.longer], but it is not too long (any more)"
        if len(reason.split()) < 4:
            yield f"{entry}: listed in [tool.house-rules.longer] without a real reason"


def excuses(entry: str, where: str, length: int) -> bool:
    """Say whether an entry of the list is about this place: by its name, or by a pattern, which has its own limit."""
    return entry == where or (length <= MAX_BY_PATTERN and fnmatch(where, entry))


def sources(root: Path) -> Iterator[Path]:
    """Yield the Python files that people read: everything but what tools made."""
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).parts
        if not any(part.startswith(".") or part in {"node_modules", "dist", "build"} for part in parts):
            yield path


# --- 2. What is public stands in __all__ ----------------------------------------------------------------------


def exports(module: Module) -> list[str] | None:
    """Return the module's `__all__` as written, or None if it has none."""
    for node in ast.walk(module.tree):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))
    return None


def statements(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, ast.stmt | None]]:
    """Yield each statement of a module with the one after it, going into `if` and `try` (TYPE_CHECKING, versions)."""
    for node, after in zip_longest(body, body[1:]):
        yield node, after
        for inner in ("body", "orelse", "handlers", "finalbody"):
            if isinstance(node, ast.If | ast.Try):
                yield from statements(getattr(node, inner, []))


def defined(module: Module) -> Iterator[str]:
    """Yield the public names that the module defines or re-exports."""
    for node, _ in statements(module.tree.body):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname for alias in node.names if alias.asname == alias.name)
        elif isinstance(node, Definition):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def check_exports(module: Module, name: str) -> Iterator[str]:
    """Compare what a public module has with what it promises."""
    promised = exports(module)
    if promised is None:
        yield f"{name}: a public module has an __all__"
        return
    public = {n for n in defined(module) if not n.startswith("_") and n != "TYPE_CHECKING"}
    # A type variable is a tool of the module, not something it offers.
    public = {n for n in public if not n.endswith(("_T", "T_co", "T_contra")) or n in promised}
    for extra in sorted(set(promised) - public):
        yield f"{name}: {extra} stands in __all__, but is neither defined there nor re-exported as `{extra} as {extra}`"
    for missing in sorted(public - set(promised)):
        yield f"{name}: {missing} is public, but does not stand in __all__"


# --- 3. What is public has a docstring --------------------------------------------------------------------------


def check_docstrings(module: Module, public: str, package: Path) -> Iterator[str]:
    """Check one public name of `module`, following re-exports to where it is defined."""
    for node, after in statements(module.tree.body):
        if isinstance(node, ast.ImportFrom) and any(alias.asname == public for alias in node.names):
            if target := imported_from(node, module.path, package):
                yield from check_docstrings(Module.read(target), public, package)
        elif isinstance(node, Definition) and node.name == public:
            yield from undocumented(node, module.path.relative_to(package.parent).as_posix())
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named = any(isinstance(target, ast.Name) and target.id == public for target in targets)
            below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if named and not below and not is_commented(module, node):
                yield f"{module.path.relative_to(package.parent)}: {public} has neither a comment nor a docstring"


def is_commented(module: Module, node: ast.stmt) -> bool:
    """Say whether a comment stands on the line, or above the block of lines in which it stands."""
    line = node.lineno - 1
    if "#" in module.lines[line]:
        return True
    while line > 0 and module.lines[line].strip() and not module.lines[line].strip().startswith("#"):
        line -= 1
    return module.lines[line].strip().startswith("#")


def imported_from(node: ast.ImportFrom, path: Path, package: Path) -> Path | None:
    """Return the file that a `from ._x import Y` or `from worker_ipc._x import Y` reads, if it is one of ours."""
    parts = (node.module or "").split(".") if node.module else []
    if node.level:
        base = path.parent
        for _ in range(node.level - 1):
            base = base.parent
    elif parts and parts[0] == package.name:
        base, parts = package, parts[1:]
    else:
        return None
    target = base.joinpath(*parts)
    candidates = [target.with_suffix(".py") if parts else target / "__init__.py", target / "__init__.py"]
    return next((file for file in candidates if file.is_file()), None)


def undocumented(node: Definition, name: str) -> Iterator[str]:
    """Yield the definition, and each public method in it, that says nothing about itself."""
    if is_overload(node):
        return
    if not ast.get_docstring(node):
        yield f"{name}: {node.name} has no docstring"
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            inner = isinstance(member, Definition) and not member.name.startswith("_") and not is_overload(member)
            if inner and not ast.get_docstring(member):
                yield f"{name}: {node.name}.{member.name} has no docstring"


def is_overload(node: Definition) -> bool:
    """Say whether its docstring belongs elsewhere: on the implementation, or on the getter."""
    return any(ast.unparse(decorator).endswith(("overload", ".setter")) for decorator in node.decorator_list)


# --- The whole house ---------------------------------------------------------------------------------------------


def check_package(package: Path) -> Iterator[str]:
    """Check the public modules of one package."""
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in inside):
            continue  # private: its names are checked where a public module re-exports them
        module = Module.read(path)
        yield from check_exports(module, path.relative_to(package.parent).as_posix())
        for public in exports(module) or []:
            yield from check_docstrings(module, public, package)


def problems(root: Path) -> list[str]:
    """Return everything in the tree under `root` that breaks a house rule, one sentence each."""
    config = tomllib.loads((root / "pyproject.toml").read_text())
    longer = config.get("tool", {}).get("house-rules", {}).get("longer", {})
    found = list(check_lengths(root, longer))
    for package in sorted(root.glob("packages/*/src/*/")):
        found += check_package(package)
    return sorted(set(found))


if __name__ == "__main__":
    broken = problems(Path(__file__).parent.parent)
    print("\n".join(broken) or "The house rules hold.")
    sys.exit(bool(broken))
