"""An output that others may write to: whatever lies in the place of a file or folder of ours, no command follows it,
waits for it or ends with more than a line, a canary stays as it is, and what can be made again is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import BASE, write_catalog
from tests.rootfs.making import needs_root
from tests.support.hostile import KINDS, Canary, plant
from tests.support.images import Layout
from tests.support.running import Result, run_doit

PUBLISHED = "bundles/{}/linux-amd64"
PARTS = "bundles/.parts/{}/linux-amd64"
# Where all is made again, and where the folder of one image is in a stranger's hands, until somebody removes it.
MENDED = (
    PUBLISHED,
    *(f"{PUBLISHED}/{name}" for name in ("rootfs", "image.json", "bundle.json", "rootfs.tar", "context")),
    *(f"{PUBLISHED}/{name}" for name in ("rootfs/etc", "rootfs/etc/passwd", "context/build.sh", "context/blobs")),
    *(f"{PARTS}/{name}" for name in ("tree", "rootfs", "rootfs.json", "image.json", "initconfig.json", "boot")),
    *(
        f"{PARTS}/{name}"
        for name in ("standing", "standing.tree", "form-tar", "form-tar.json", "form-tar/rootfs.tar")
    ),
    *(f"{PARTS}/{name}" for name in (".new", ".old", ".ready", ".rootfs", ".tar", ".sample")),
    "bundles/{}/.tmp-linux-amd64",
    "bundles/{}/.parts/linux-amd64/.new",
)
STUCK = ("bundles/{}", "bundles/.parts/{}", PARTS, "bundles/{}/.parts", "bundles/{}/.parts/linux-amd64")
IN_PLACES = {f"p{number}": place for number, place in enumerate((*MENDED, *STUCK))}
AT_THE_TOP = ("bundles/catalog.json", "bundles/.parts", ".doit.db", ".doit.db-journal", ".doit.db.lock")


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary.make(tmp_path / "canary")


class Catalog:
    """A bundle for each place, and good ones beside."""

    def __init__(self, folder: Path, names: list[str], canary: Canary) -> None:
        self.folder, self.canary = folder, canary
        folder.mkdir()
        layout = Layout(folder / "image")
        layout.image(BASE, cmd=["sh"])
        self.images: dict[str, Any] = {
            name: {"source": "oci:image", "rootfs": ["dir", "tar", "context"]} for name in [*names, "good"]
        }
        write_catalog(folder, self.images, workers=1)
        (folder / "bundles").mkdir()
        os.chown(folder / "bundles", 0, 1000)
        (folder / "bundles").chmod(0o2775)
        assert self.run().exit == 0
        self.before = canary.state()

    def run(self, *args: str) -> Result:
        """A command: it ends, and says no more than lines, and the canary is as it was."""
        result = run_doit(self.folder, *args)
        assert result.exit in (0, 1, 3), result
        assert "Traceback" not in result.stderr + result.stdout
        assert not list(self.folder.glob(".doit.traces/*")), result.stderr
        if hasattr(self, "before"):
            assert self.canary.state() == self.before, args
        return result

    def plant(self, kind: str) -> None:
        for name, place in IN_PLACES.items():
            path = self.folder / place.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            plant(path, kind, self.canary)

    def is_good(self, name: str) -> bool:
        rootfs = self.folder / f"bundles/{name}/linux-amd64/rootfs"
        return (rootfs / "etc/rc").is_symlink() and (rootfs / "bin/sh").read_text() == "#!"


@needs_root
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_lies_in_the_place_of_ours(tmp_path: Path, canary: Canary, kind: str) -> None:
    catalog = Catalog(tmp_path / "catalog", list(IN_PLACES), canary)
    mended = [name for name, place in IN_PLACES.items() if place in MENDED]
    catalog.plant(kind)
    catalog.run()
    (catalog.folder / ".doit.db.lock").write_text("pid 1 on a-dead-host\n")
    catalog.run("verify")
    repaired = catalog.run("verify", "--repair")
    verified = catalog.run("verify", "good", *mended)
    assert verified.exit == 0, verified.stdout + repaired.stderr
    assert all(catalog.is_good(name) for name in mended)

    catalog.plant(kind)
    (catalog.folder / ".doit.db.lock").write_text("pid 1 on a-dead-host\n")  # recovers first
    for name in catalog.images.values():  # so that all is published
        name["process"] = {"args": ["another"]}
    write_catalog(catalog.folder, catalog.images, workers=1)
    told = catalog.run().stderr
    stuck = [name for name in IN_PLACES if name not in mended]
    failed = {line.partition("@")[0] for line in told.splitlines()}
    if kind != "folder":
        assert failed <= set(stuck), told
    else:  # one may hold what somebody wants: it is told of, and left
        bad = [line for line in told.splitlines() if line.partition("@")[0] in mended and "move away" not in line]
        assert bad == []
    assert [name for name in {*mended, "good"} - failed if not catalog.is_good(name)] == []

    catalog.plant(kind)
    for command in (["gc"], ["lock"], ["status"], ["plan"], ["forget", "bundle:p0@linux/amd64"], ["doctor"]):
        catalog.run(*command)
    write_catalog(catalog.folder, {"good": catalog.images["good"]}, workers=1)
    catalog.run("prune")
    assert catalog.is_good("good")
    write_catalog(catalog.folder, catalog.images, workers=1)
    catalog.plant(kind)
    catalog.run("clean")


@needs_root
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", AT_THE_TOP)
def test_whatever_lies_beside_bundles(tmp_path: Path, canary: Canary, place: str, kind: str) -> None:
    catalog = Catalog(tmp_path / "catalog", [], canary)
    for command in ([], ["verify", "--repair"]):
        plant(catalog.folder / place, kind, canary)
        result = catalog.run(*command)
        assert len(result.stderr.splitlines()) < 20, result.stderr


@needs_root
@pytest.mark.parametrize("how", ["another", "one with its note", "the same, under another name for a while"])
def test_another_root_in_the_place_of_the_one_that_waits(tmp_path: Path, how: str) -> None:
    """It is written anew."""
    Layout(tmp_path / "image").image(BASE)
    write_catalog(tmp_path, {"web": {"source": "oci:image", "rootfs": ["dir"]}})
    assert run_doit(tmp_path, "run", "rootfs:web@linux/amd64:dir").exit == 0
    parts = tmp_path / PARTS.format("web")
    waiting, moved = parts / "rootfs", parts.with_name("moved")
    if how.startswith("the same"):
        waiting.rename(moved)
        moved.rename(waiting)
    else:
        waiting.rename(moved)
        shutil.copytree(moved, waiting, symlinks=True)
    (waiting / "bin/sh").write_text("a stranger's")
    if how == "one with its note":
        noted, now = json.loads((parts / "boot").read_text()), waiting.stat()
        forged = noted | {"device": now.st_dev, "inode": now.st_ino, "ctime_ns": noted["ctime_ns"]}
        (parts / "boot").write_text(json.dumps(forged))
    assert run_doit(tmp_path).exit == 0
    rootfs = tmp_path / PUBLISHED.format("web") / "rootfs"
    assert (rootfs / "bin/sh").read_text() == "#!"
    assert run_doit(tmp_path, "verify").exit == 0


@pytest.fixture
def own_links(tmp_path: Path) -> Iterator[Path]:
    """A repository whose output, cache and state are links of the user's own to another disk."""
    disk = tmp_path / "disk"
    for name in ("bundles", "cache"):
        (disk / name).mkdir(parents=True)
        (tmp_path / name).symlink_to(disk / name)
    (tmp_path / ".doit.db").symlink_to("disk/state")
    yield tmp_path


def test_links_of_our_own(own_links: Path) -> None:
    Layout(own_links / "image").image(BASE)
    write_catalog(own_links, {"web": {"source": "oci:image", "rootfs": ["dir", "tar"]}})
    for command in ([], [], ["verify"], ["gc"], ["prune"]):
        result = run_doit(own_links, *command)
        assert (result.exit, result.stderr) == (0, ""), command
    assert (own_links / ".doit.db").is_symlink() and (own_links / "disk/state").stat().st_size
    assert (own_links / "disk/bundles/web/linux-amd64/rootfs/bin/sh").read_text() == "#!"
    assert run_doit(own_links, "clean", "-y").exit == 0
    assert not (own_links / "disk/bundles/web").exists()


@needs_root
def test_a_mask_of_nothing(tmp_path: Path) -> None:
    """Whatever the umask, all that is made can be written by nobody else."""
    Layout(tmp_path / "image").image(BASE)
    forms = ["dir", "tar", "cpio", "iso", "ext4", "erofs", "context", "imagemounter"]
    write_catalog(tmp_path, {"web": {"source": "oci:image", "rootfs": forms}})
    before = os.umask(0)
    try:
        assert run_doit(tmp_path).exit == 0
    finally:
        os.umask(before)
    ours = [*(tmp_path / "bundles").rglob("*"), tmp_path / "bundles", *tmp_path.glob(".doit.db*")]
    assert [str(path) for path in ours if not path.is_symlink() and path.stat().st_mode & 0o022] == []
