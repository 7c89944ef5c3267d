"""What a command loads where there is nothing to do: nothing that makes anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.running import run_doit

MODULES = """
import sys
from doit.doit_cmd import DoitMain
status = DoitMain().run(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
sys.exit(status)
"""
MAKING = {"tree", "rootfs", "registry", "audit", "cache", "remote", "page"}


def loaded(folder: Path, *words: str) -> set[str]:
    """The packages of ours that the command has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", MODULES, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    modules = done.stderr.splitlines()[-1].split()
    return {module.split(".")[1] for module in modules if module.startswith("c2wtasks.")}


@pytest.mark.parametrize("words", [[], ["web"], ["list"], ["list", "--all"], ["why"], ["plan"]], ids=" ".join)
def test_what_makes_is_not_loaded_where_nothing_is_made(tmp_path: Path, words: list[str]) -> None:
    images = small_catalog(tmp_path)
    write_catalog(tmp_path, images, remote_cache={"url": f"file://{tmp_path}", "trust": ["ci.pub"], "write": True})
    assert run_doit(tmp_path).exit == 0
    found = loaded(tmp_path, *words)
    assert "graph" in found
    assert found.isdisjoint(MAKING)


def test_it_is_where_something_is_made(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    assert {"tree", "rootfs"} <= loaded(tmp_path)
