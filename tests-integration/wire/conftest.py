"""Real programs from npm, of pinned versions, installed once into a cache outside the tree."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAMS = ["dockerfile-language-server-nodejs@0.14.1", "@modelcontextprotocol/server-everything@2025.9.25"]


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The directory that the programs are in."""
    key = hashlib.sha256(" ".join(PROGRAMS).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "workers-for-python" / key
    cache.parent.mkdir(parents=True, exist_ok=True)
    with cache.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the sessions of two Pythons may come here at once
        install_into(cache)
    return cache / "node_modules"


def install_into(cache: Path) -> None:
    """Install the programs, unless that was done before."""
    if not (cache / "complete").exists():
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        command = ["npm", "install", "--prefix", str(cache), "--no-audit", "--no-fund", "--ignore-scripts", *PROGRAMS]
        subprocess.run(command, check=True, timeout=300, stdin=subprocess.DEVNULL, capture_output=True)
        (cache / "complete").touch()
