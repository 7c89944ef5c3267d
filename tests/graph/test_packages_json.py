"""packages.json in bundles: made with the tree, recorded as the other files are, made again when it is lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.graph.catalogs import write_catalog
from tests.support.hooking import hooked
from tests.support.images import Layout
from tests.support.running import executed, run_doit
from tests.support.tars import Fifo, Tree

WEB = "bundles/web/linux-amd64"
PARTS = "bundles/.parts/web/linux-amd64"
DATABASE = "lib/apk/db/installed"


def installed(*names: str) -> Tree:
    return {DATABASE: "".join(f"P:{name}\nV:1\nA:x86_64\nF:bin\nR:{name}\n\n" for name in names)}


COUNTED = """
import c2wtasks.packages.report as _report
_made = _report.report
def _counted(*args):
    open("made", "a").write("x")
    return _made(*args)
_report.report = _counted
"""


def image(folder: Path, *layers: Tree) -> None:
    shutil.rmtree(folder / "web", ignore_errors=True)
    Layout(folder / "web").image(*layers, cmd=["sh"])


def packages(folder: Path) -> list[tuple[str, int | None, int]]:
    found = json.loads((folder / WEB / "packages.json").read_text())
    return [(one["name"], one["layer"], one["files"]) for one in found["packages"]]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    image(tmp_path, {**installed("a"), "bin/a": "a"}, {**installed("a", "b"), "bin/b": "b", "srv/x": ""})
    write_catalog(tmp_path, {"web": {"source": "oci:web"}})
    assert run_doit(tmp_path).exit == 0
    return tmp_path


def test_it_is_one_of_the_files_of_a_bundle(built: Path) -> None:
    assert packages(built) == [("a", 0, 1), ("b", 1, 1)]
    text = (built / WEB / "packages.json").read_bytes()
    record = json.loads((built / WEB / "bundle.json").read_text())
    catalog = json.loads((built / "bundles/catalog.json").read_text())
    for one in (record, catalog["bundles"][0]["bundle"]):
        assert one["outputs"]["packages.json"]["sha256"] == hashlib.sha256(text).hexdigest()
    assert f"{hashlib.sha256(text).hexdigest()}  packages.json\n" in (built / WEB / "SHA256SUMS").read_text()
    assert run_doit(built, "verify").exit == 0
    assert executed(built) == set()


def test_an_option_that_is_changed_leaves_it_alone(built: Path) -> None:
    before = (built / WEB / "packages.json").stat()
    write_catalog(built, {"web": {"source": "oci:web", "process": {"args": ["ls"]}}})
    assert not {"tree:web@linux/amd64"} & executed(built)
    now = (built / WEB / "packages.json").stat()
    assert (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_one_that_was_edited_is_found_and_mended(built: Path) -> None:
    before = (built / WEB / "packages.json").read_bytes()
    (built / WEB / "packages.json").write_text("{}")
    found = run_doit(built, "verify")
    assert found.exit == 1 and "packages.json" in found.stdout
    assert run_doit(built, "verify", "--repair").exit == 0
    assert (built / WEB / "packages.json").read_bytes() == before


@pytest.mark.parametrize("left", [None, b"", 100])
def test_one_that_was_lost_is_made_again(built: Path, left: bytes | int | None) -> None:
    """A power loss may leave nothing of what is kept, an empty file, or its beginning."""
    before = (built / WEB / "packages.json").read_bytes()
    (built / WEB / "packages.json").unlink()
    kept = built / PARTS / "packages"
    content = kept.read_bytes()
    kept.unlink()
    if left is not None:
        kept.write_bytes(content[:left] if isinstance(left, int) else left)
    assert executed(built) == {"bundle:web@linux/amd64"}
    assert (built / WEB / "packages.json").read_bytes() == before
    assert kept.read_bytes() == content
    assert executed(built) == set()


def test_layers_that_were_evicted(built: Path) -> None:
    for tar in (built / "cache/layers/sha256").glob("*.tar"):
        tar.unlink()
    (built / PARTS / "tree").unlink()
    assert run_doit(built).exit == 0
    assert packages(built) == [("a", 0, 1), ("b", 1, 1)]


def test_a_hostile_database_fails_no_build(built: Path) -> None:
    image(built, {DATABASE: Fifo(), "var/lib/rpm/rpmdb.sqlite": "SQLite format 3\0" + "\xff" * 4096})
    run = run_doit(built)
    assert run.exit == 0
    assert json.loads((built / WEB / "packages.json").read_text())["notes"] == [
        "/lib/apk/db/installed: it is no regular file",
        "/var/lib/rpm/rpmdb.sqlite: it is damaged: pages of no size that SQLite knows",
    ]


def test_an_external_bundle_has_none(built: Path) -> None:
    write_catalog(built, {"web": {"source": "oci:web", "boot": {"external_bundle": True}}})
    assert run_doit(built).exit == 0
    assert not (built / WEB / "packages.json").exists()


def test_an_image_that_is_there_twice_is_looked_at_once(built: Path, tmp_path: Path) -> None:
    env = hooked(tmp_path / "hook", COUNTED)
    image(tmp_path, installed("other"))
    twice = {name: {"source": "oci:web", "process": {"args": [name]}} for name in ("web", "also")}
    write_catalog(tmp_path, twice)
    assert run_doit(tmp_path, "-n", "0", env=env).exit == 0
    assert (tmp_path / "made").read_text() == "x"
    also = (tmp_path / "bundles/also/linux-amd64/packages.json").read_text()
    assert also == (tmp_path / WEB / "packages.json").read_text()
    assert packages(tmp_path) == [("other", 0, 0)]
