"""The same inputs give the same outputs: bytes, modes, owners, links and, in roots, mtimes, whatever surrounds the
build."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import DODO
from tests.support.images import unpack
from tests.support.running import environment

PROJECT = DODO.parent
CASES = PROJECT / "tests/reference/cases"


def snapshot(folder: Path) -> list[str]:
    """Every entry below a folder as a line; files beside roots and the folders that hold bundles without their mtime,
    which is when they were published."""
    lines = []
    first_names: dict[int, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.startswith((".parts", ".history")):
            continue
        found = path.lstat()
        in_root = "/rootfs/" in name
        mtime = found.st_mtime_ns if in_root or (path.is_dir() and name.count("/") > 0) else 0
        line = f"{name} {found.st_mode:o} {found.st_uid}:{found.st_gid} {found.st_rdev} {mtime}"
        if path.is_symlink():
            line += f" -> {path.readlink()}"
        elif path.is_file():
            line += f" {hashlib.sha256(path.read_bytes()).hexdigest()}"
            if found.st_nlink > 1:
                line += f" = {first_names.setdefault(found.st_ino, name)}"
        lines.append(line + _xattrs(path))
    return lines


def _xattrs(path: Path) -> str:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return "".join(f" {name}={os.getxattr(path, name, follow_symlinks=False).hex()}" for name in names)


def example_catalog(folder: Path, *, backwards: bool) -> None:
    folder.mkdir()
    shutil.copytree(PROJECT / "examples", folder / "examples")
    text = (PROJECT / "bundle.yaml").read_text()
    if backwards:
        head, _, images = text.partition("images:\n")
        entries = images.split("\n\n")
        text = f"{head}images:\n" + "\n\n".join(entry.rstrip("\n") for entry in reversed(entries)) + "\n"
    (folder / "bundle.yaml").write_text(text)
    shutil.copy(DODO, folder)


def reference_catalog(folder: Path, *, backwards: bool) -> None:
    images: dict[str, Any] = {}
    for case in sorted(CASES.iterdir(), reverse=backwards):
        unpack(case / "image.tar", folder / "images" / case.name)
        transport = "oci" if (folder / "images" / case.name / "index.json").exists() else "docker-archive"
        platform = json.loads((case / "expected.json").read_text())["platform"]
        images[case.name] = {"source": f"{transport}:images/{case.name}", "platforms": [platform]}
    (folder / "bundle.yaml").write_text(json.dumps({"images": images}))
    shutil.copy(DODO, folder)


@pytest.mark.parametrize("catalog", [example_catalog, reference_catalog])
def test_two_builds_are_the_same(tmp_path: Path, catalog: Any) -> None:
    plain, other = tmp_path / "one", tmp_path / "some where/else ü"
    other.parent.mkdir()
    catalog(plain, backwards=False)
    catalog(other, backwards=True)
    codes = [
        _build(plain, "022", [], {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "1"}),
        _build(other, "077", ["-n", "3"], {"LC_ALL": "C", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "2"}),
    ]
    assert codes[0] == codes[1]
    assert snapshot(plain / "bundles") == snapshot(other / "bundles")


def _build(folder: Path, umask: str, options: list[str], env: dict[str, str]) -> int:
    command = ["sh", "-c", f'umask {umask} && exec "$0" -m doit "$@"', sys.executable, *options]
    run = subprocess.run(command, cwd=folder, env=environment(env), capture_output=True, text=True, check=False)
    assert "Traceback" not in run.stdout + run.stderr
    return run.returncode
