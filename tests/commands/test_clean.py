"""`doit clean`: what it removes, what it cannot, and what catalog.json says then."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.graph.catalogs import small_catalog
from tests.support.disks import NEEDS_ROOT
from tests.support.mounts import memory, mounted_over, overlay
from tests.support.running import environment, executed, run_doit

WEB = "bundles/web/linux-amd64"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    folder = tmp_path / "catalog"
    folder.mkdir()
    small_catalog(folder)
    assert run_doit(folder).exit == 0
    return folder


def statuses(folder: Path) -> dict[str, str]:
    lines = json.loads((folder / "bundles/catalog.json").read_text())["bundles"]
    return {line["name"]: line["status"] for line in lines}


def test_the_catalog_is_right_afterwards(catalog: Path) -> None:
    done = run_doit(catalog, "clean", "web")
    assert (done.exit, done.stderr) == (0, "")
    assert statuses(catalog) == {"db": "built", "other": "built", "web": "missing"}
    assert "bundle:web@linux/amd64" in executed(catalog)
    assert statuses(catalog)["web"] == "built"
    assert executed(catalog) == set()
    assert run_doit(catalog, "clean", "-a", "--yes").exit == 0
    assert not (catalog / "bundles/catalog.json").exists()


@pytest.mark.parametrize("words", [(), ("-a",)])
def test_all_bundles_go_only_if_that_is_meant(catalog: Path, words: tuple[str, ...]) -> None:
    done = run_doit(catalog, "clean", *words)
    assert (done.exit, done.stdout) == (3, "")
    said = (
        r"ERROR: without names, this removes all bundles in bundles \(3 bundles, [\d.]+ kB\): give --yes, or names\n"
    )
    assert re.fullmatch(said, done.stderr)
    assert statuses(catalog) == {"db": "built", "other": "built", "web": "built"}
    dry = run_doit(catalog, "clean", *words, "--dry-run")
    assert dry.exit == 0
    names = {line.removeprefix("would remove ") for line in dry.stdout.splitlines() if "catalog" not in line}
    assert names == {f"{name}@linux/amd64" for name in ("db", "other", "web")}
    assert run_doit(catalog, "clean", *words, "-y").exit == 0
    assert not (catalog / WEB).exists()
    assert run_doit(catalog, "clean", *words).exit == 0, "there is nothing that could go"


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 3), ("", 3)])
def test_a_terminal_is_asked(catalog: Path, answer: str, status: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "doit", "clean"],
        cwd=catalog,
        env=environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    while b"[y/N] " not in said:
        said += os.read(ours, 1000)
    os.write(ours, f"{answer}\n".encode())
    assert process.wait() == status
    os.close(ours)
    assert (catalog / WEB).exists() == (status != 0)


def test_a_dry_run_waits_for_nobody_and_changes_nothing(catalog: Path) -> None:
    before = (catalog / "bundles/catalog.json").stat()
    done = run_doit(catalog, "clean", "--dry-run", "web")
    assert (done.exit, done.stderr) == (0, "")
    assert (catalog / f"{WEB}/bundle.json").exists()
    assert (catalog / "bundles/catalog.json").stat() == before


@NEEDS_ROOT
@pytest.mark.parametrize("of", ["another disk", "a folder of this disk"])
def test_a_mount_in_a_bundle(catalog: Path, tmp_path: Path, of: str) -> None:
    """The others go; it is told and not forgotten; nothing behind the mount is touched by mistake."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    at = catalog / f"{WEB}/rootfs/srv"
    with memory(at) if of == "another disk" else mounted_over(theirs, at) as mounted:
        (mounted / "theirs").write_text("keep")
        left = catalog / "bundles/.parts/web/linux-amd64/.new"
        try:
            done = run_doit(catalog, "clean", "--forget", "web", "db")
            assert done.exit == 1
            (line,) = done.stderr.splitlines()
            assert "Traceback" not in done.stdout
            assert "cannot be removed" in line
            assert "mounted" in line
            assert statuses(catalog) == {"db": "missing", "other": "built", "web": "missing"}
            assert (left / "rootfs/srv/theirs").read_text() == "keep"
        finally:
            (catalog / WEB).parent.mkdir(exist_ok=True)
            left.rename(catalog / WEB)  # with the mount, for whoever unmounts it there
    assert run_doit(catalog).exit == 0
    assert set(statuses(catalog).values()) == {"built"}


@NEEDS_ROOT
def test_a_bundle_that_is_a_mount(catalog: Path) -> None:
    with memory(catalog / WEB):
        done = run_doit(catalog, "clean", "web")
        assert done.exit == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"{WEB}: cannot be removed")
    assert run_doit(catalog, "clean", "web").exit == 0


@NEEDS_ROOT
@pytest.mark.parametrize("command", ["clean", "prune"])
def test_an_image_that_lies_on_another_disk(catalog: Path, tmp_path: Path, command: str) -> None:
    """Its folder is a link of the user's: the bundle behind it goes where it may, the link and the disk stay."""
    with memory(tmp_path / "disk") as disk:
        assert run_doit(catalog, "clean", "web").exit == 0
        (disk / "theirs").write_text("keep")
        (catalog / "bundles/web").symlink_to(disk)
        built = run_doit(catalog)
        assert (built.exit, (disk / "linux-amd64/bundle.json").exists()) == (0, True)
        if command == "prune":
            text = (catalog / "bundle.yaml").read_text()
            (catalog / "bundle.yaml").write_text(text.replace('"web": {', '"new": {'))
            done = run_doit(catalog, "prune")
        else:
            done = run_doit(catalog, "clean", "web")
            assert not (disk / "linux-amd64").exists()
            assert statuses(catalog)["web"] == "missing"
        assert "Traceback" not in done.stdout + done.stderr
        assert done.exit == 0
        assert (catalog / "bundles/web").is_symlink()
        assert (disk / "theirs").read_text() == "keep"


@NEEDS_ROOT
def test_a_bundle_of_a_lower_layer(catalog: Path, tmp_path: Path) -> None:
    with overlay(catalog, tmp_path / "seen", tmp_path) as seen:
        done = run_doit(seen, "clean", "web")
        assert (done.exit, done.stderr) == (0, "")
        assert not (seen / "bundles/web").exists()
        assert statuses(seen)["web"] == "missing"
