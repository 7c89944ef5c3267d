"""Taking bundles elsewhere: what copies by size and mtime gets all that has changed, and what has not stays the very
file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import DODO, small_catalog, write_catalog
from tests.support import pages
from tests.support.published import own_files
from tests.support.running import executed, run_doit

WEB = "web@linux/amd64"
AT = "web/linux-amd64"
PAGE = DODO.parent / "docs/how-to/publishing.md"
FORMS: list[Any] = ["dir", "tar", "context", {"form": "ext4", "journal": False}]

needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs Debian's package rsync")


def states(folder: Path) -> dict[str, tuple[int, int]]:
    """The inode and mtime of each of a bundle's own files."""
    return {name: ((folder / name).stat().st_ino, (folder / name).stat().st_mtime_ns) for name in own_files(folder)}


def block(start: str) -> str:
    """The block of commands of the page that begins like this."""
    (found,) = [one.text for one in pages.blocks(PAGE.read_text()) if one.text.startswith(start)]
    return found


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Any]:
    """bundle.yaml's images: `web` is built in several forms."""
    images = small_catalog(tmp_path)
    images["web"] |= {"rootfs": FORMS, "process": {"args": ["one"]}}
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path).exit == 0
    return images


def change(folder: Path, images: dict[str, Any], word: str) -> None:
    """Another spec.json of the same length."""
    before = (folder / "bundles" / AT / "spec.json").stat().st_size
    images["web"]["process"] = {"args": [word]}
    write_catalog(folder, images)
    assert run_doit(folder).exit == 0
    assert (folder / "bundles" / AT / "spec.json").stat().st_size == before


@needs_rsync
def test_a_change_of_equal_length_gets_to_the_mirror(tmp_path: Path, images: dict[str, Any]) -> None:
    rsync = ["rsync", "-a", "--delete", "--exclude=/.*", "bundles/", "mirror/"]
    subprocess.run(rsync, cwd=tmp_path, check=True)
    for word in ("two", "six"):
        change(tmp_path, images, word)
        subprocess.run(rsync, cwd=tmp_path, check=True)
        for name in ("web", "db", "other"):
            at = f"{name}/linux-amd64"
            assert own_files(tmp_path / "mirror" / at) == own_files(tmp_path / "bundles" / at)
        assert f'"{word}"' in (tmp_path / "mirror" / AT / "spec.json").read_text()
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "mirror" / AT, check=True)


def test_whole_seconds_tell_a_change_from_what_was_there(tmp_path: Path, images: dict[str, Any]) -> None:
    """HTTP, and many tools, count no less."""
    published = tmp_path / "bundles" / AT
    for word in ("two", "six"):
        before = (published / "spec.json").stat().st_mtime_ns
        change(tmp_path, images, word)
        assert (published / "spec.json").stat().st_mtime_ns // 10**9 > before // 10**9
    assert executed(tmp_path) == set()
    assert run_doit(tmp_path, "verify").exit == 0


def test_what_stays_is_the_same_file(tmp_path: Path, images: dict[str, Any]) -> None:
    published = tmp_path / "bundles" / AT
    before, contents = states(published), own_files(published)
    change(tmp_path, images, "two")
    after, now = states(published), own_files(published)
    changed = {name for name in now if now[name] != contents.get(name)}
    assert {"spec.json", "bundle.json", "SHA256SUMS"} < changed
    assert {name for name in after if after[name] != before.get(name)} == changed
    assert {"initconfig.json", "rootfs.tar", "rootfs.ext4", "context/build.sh"} <= {*after} - changed
    assert run_doit(tmp_path, "-a").exit == 0  # all is made again, to the same bytes
    assert states(published) == after
    assert executed(tmp_path) == set()


def test_a_form_that_was_written_to_is_another_file(tmp_path: Path, images: dict[str, Any]) -> None:
    published = tmp_path / "bundles" / AT
    before, contents = states(published), own_files(published)
    disk = published / "rootfs.ext4"
    with disk.open("r+b") as stream:
        stream.write(b"?")
    os.utime(disk, ns=(before["rootfs.ext4"][1], before["rootfs.ext4"][1]))  # as if nobody had been there
    assert run_doit(tmp_path, "-a").exit == 0
    assert own_files(published) == contents
    assert {name for name, state in states(published).items() if state != before[name]} == {"rootfs.ext4"}


def test_the_record_has_what_sha256sum_finds(tmp_path: Path, images: dict[str, Any]) -> None:
    for name in ("web", "db"):
        folder = tmp_path / "bundles" / name / "linux-amd64"
        files = {path: content for path, (_, content) in own_files(folder).items()}
        record = json.loads(files["bundle.json"])
        assert set(record["outputs"]) == set(files) - {"bundle.json", "SHA256SUMS"}
        assert {path: one["size"] for path, one in record["outputs"].items()} == {
            path: len(files[path]) for path in record["outputs"]
        }
        found = subprocess.run(["sha256sum", *sorted(files)], cwd=folder, capture_output=True, text=True, check=True)
        lines = [line for line in found.stdout.splitlines() if not line.endswith("  SHA256SUMS")]
        assert files["SHA256SUMS"].decode().splitlines() == sorted(lines, key=lambda line: line.partition("  ")[2])
        assert {path: one["sha256"] for path, one in record["outputs"].items()} == {
            line.partition("  ")[2]: line.partition("  ")[0] for line in lines if not line.endswith("  bundle.json")
        }


@needs_rsync
def test_the_commands_of_the_page(tmp_path: Path, images: dict[str, Any]) -> None:
    (tmp_path / "bundles/.tmp-1-left").touch()
    (tmp_path / "bundles/web/.parts").mkdir()
    to_plain = block("rsync -aHX --numeric-ids --delete").replace("mirror/", "plain/")
    for word in ("two", "six"):
        change(tmp_path, images, word)
        in_turn = block("mkdir -p releases").replace("$(date +%FT%H%M%S)", word)
        subprocess.run(["sh", "-ec", to_plain + in_turn], cwd=tmp_path, check=True)
        for mirror in ("plain", "releases/current"):
            names = {path.name for path in (tmp_path / mirror).iterdir()}
            assert names == {"catalog.json", "catalog.html", "feed.atom", "feeds", "web", "db", "other"}
            assert {path.name for path in (tmp_path / mirror / "web").iterdir()} == {"linux-amd64"}
            assert own_files(tmp_path / mirror / AT) == own_files(tmp_path / "bundles" / AT)
            check = block("for folder").replace("mirror/", f"{mirror}/")
            subprocess.run(["sh", "-ec", check], cwd=tmp_path, check=True)
    first, second = (tmp_path / "releases" / word / AT / "rootfs.tar" for word in ("two", "six"))
    assert first.stat().st_ino == second.stat().st_ino
