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

from tests.graph.catalogs import DODO, write_catalog
from tests.support.images import Dir, File, Hardlink, Layout, Tree, unpack
from tests.support.published import OF_RUNS
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
        if name.partition("/")[0] in OF_RUNS:
            continue
        found = path.lstat()
        in_root = "/rootfs/" in name
        mtime = found.st_mtime_ns if in_root or (path.is_dir() and name.count("/") > 0) else 0
        line = f"{name} {found.st_mode:o} {found.st_uid}:{found.st_gid} {found.st_rdev} {mtime}"
        if path.is_symlink():
            line += f" -> {path.readlink()}"
        elif path.is_file():
            line += f" {hashlib.sha256(path.read_bytes()).hexdigest()}"
            if (first := first_names.setdefault(found.st_ino, name)) != name:
                line += f" = {first}"
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


def test_a_root_that_is_made_of_others_is_the_same(tmp_path: Path) -> None:
    """Of three versions one after the other, the last of which is made of the first and the second; and of the last
    alone."""
    shared: Tree = {"d/": None, **{f"d/{number}": str(number) for number in range(30)}}
    layout = Layout(tmp_path / "layout")
    for number in range(3):
        own: Tree = {
            "srv/": Dir(mode=0o2770 + number, uid=number, mtime=number + 0.5),
            "srv/f": File(content=str(number), mode=0o4711, gid=7),
            "srv/linked": Hardlink("d/5" if number % 2 else "srv/f"),
            ("srv/kind/in" if number == 1 else "srv/kind"): "",
            f"d/.wh.{number}": "",
        }
        layout.image(shared, own, tag=f"v{number}")
    found = {}
    for name, versions in {"all": range(3), "one alone": range(2, 3)}.items():
        folder = tmp_path / name
        folder.mkdir()
        for version in versions:
            write_catalog(folder, {"web": f"oci:../layout:v{version}"})
            umask = "077" if name == "all" else "022"
            assert _build(folder, umask, ["-n", str(version)], {"TZ": "Asia/Kathmandu"} if version else {}) == 0
        found[name] = snapshot(folder / "bundles")
    assert (tmp_path / "all/bundles/.parts/web/linux-amd64/spare").is_dir()
    assert found["all"] == found["one alone"]


def test_a_root_that_shares_its_files_is_the_same(tmp_path: Path) -> None:
    """Of images with a common base, in any order; but for the files that are one with those of other bundles."""
    shared: Tree = {"d/": None, **{f"d/{number}": File(content=str(number), mtime=number) for number in range(30)}}
    layout, images = Layout(tmp_path / "layout"), {}
    for number in range(3):
        own: Tree = {f"d/.wh.{number}": "", "own": str(number), "linked": Hardlink("d/9"), "d/5": File(mode=0o4711)}
        layout.image(shared, own, tag=f"v{number}")
        images[f"i{number}"] = f"oci:../layout:v{number}"
    found = {}
    for name, share in {"shared": True, "alone": False}.items():
        folder = tmp_path / name
        folder.mkdir()
        write_catalog(folder, images, share=share)
        assert _build(folder, "077" if share else "022", ["-n", "2" if share else "0"], {}) == 0
        found[name] = [snapshot(folder / f"bundles/i{number}") for number in range(3)]
    assert (tmp_path / "shared/bundles/i0/linux-amd64/rootfs/d/7").stat().st_nlink == 4
    assert found["shared"] == found["alone"]


def _build(folder: Path, umask: str, options: list[str], env: dict[str, str]) -> int:
    command = ["sh", "-c", f'umask {umask} && exec "$0" -m doit "$@"', sys.executable, *options]
    run = subprocess.run(command, cwd=folder, env=environment(env), capture_output=True, text=True, check=False)
    assert "Traceback" not in run.stdout + run.stderr
    return run.returncode
