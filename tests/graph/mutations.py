"""A catalog under random change: edits of bundle.yaml, layouts, outputs, spare roots and cache, and what each makes
run."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.graph.catalogs import BASE, small_catalog, write_catalog
from tests.support import roots
from tests.support.images import Layout, Tree
from tests.support.running import run_doit

JSON_FILES = ["image.json", "spec.json", "initconfig.json", "bundle.json"]

Model = set[str]
Edit = Callable[[], Model]


def replaced(path: Path) -> None:
    """Another file, of other content, in its place."""
    path.unlink()
    path.write_bytes(b"another")


def replaced_by_link(path: Path) -> None:
    path.rename(f"{path}.moved")
    path.symlink_to(f"{path.name}.moved")


def copied(path: Path) -> None:
    """The same by another inode, with a stray in it."""
    path.rename(f"{path}.moved")
    shutil.copytree(f"{path}.moved", path, symlinks=True)
    (path / "stray").write_text("")
    shutil.copystat(f"{path}.moved", path)
    shutil.rmtree(f"{path}.moved")


def stray(path: Path) -> None:
    """Something is put into a folder, the mtime of which is as it was."""
    before = path.stat()
    (path / "stray").write_text("")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


FILE_CHANGES: list[Callable[[Path], object]] = [
    lambda path: os.utime(path, ns=(1, 1)),
    Path.unlink,
    replaced,
    replaced_by_link,
    lambda path: path.chmod(0o640),
    lambda path: path.rename(path.with_name("moved")),
    lambda path: (path.unlink(), path.mkdir(), (path / "in").write_text("")),
]
FOLDER_CHANGES: list[Callable[[Path], object]] = [
    lambda path: os.utime(path, ns=(1, 1)),
    lambda path: path.chmod(0),
    lambda path: path.rename(path.with_name("moved")),
    lambda path: (path / "stray/in").mkdir(parents=True),
    shutil.rmtree,
    replaced_by_link,
    copied,
    stray,
]


class Catalog:
    """A catalog under change. Each edit gives the tasks that must run for it, layers' under their family."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.images: dict[str, Any] = small_catalog(folder)
        self.share = False
        self.content_number = 0
        self.toggled: set[tuple[str, str]] = set()  # in this step
        self.made_anew: dict[bytes, list[str]] = {}  # roots, by the index.json of their layouts

    def name(self) -> str:
        return self.random.choice(sorted(self.images))

    def tasks(self, name: str, *families: str) -> Model:
        bundle = f"{name}@linux/amd64"
        return {f"{family}:{bundle}" + (":dir" if family == "rootfs" else "") for family in families}

    def content(self) -> Tree:
        """A layer like no other."""
        self.content_number += 1
        return {"changed": str(self.content_number)}

    def write(self) -> None:
        write_catalog(self.folder, self.images, **({"share": True} if self.share else {}))

    def boot(self) -> Model:
        name = self.name()
        setting = self.images[name].setdefault("boot", {})
        key = self.random.choice(["debug", "debug_init", "vmtouch", "binfmt"])
        if (name, key) in self.toggled:  # twice is not at all
            return set()
        self.toggled.add((name, key))
        setting[key] = not setting.get(key, key in ("vmtouch", "binfmt"))
        self.write()
        return self.tasks(name, "boot", "bundle") | {"catalog"}

    def args(self) -> Model:
        name = self.name()
        self.content_number += 1
        self.images[name]["process"] = {"args": [f"a{self.content_number}"]}
        self.write()
        return self.tasks(name, "spec", "bundle") | {"catalog"}

    def sbom(self) -> Model:
        name = self.name()
        if (name, "sbom") in self.toggled:
            return set()
        self.toggled.add((name, "sbom"))
        if self.images[name].pop("sbom", None) is None:
            self.images[name]["sbom"] = [self.random.choice(["spdx", "cyclonedx"])]
        self.write()
        return self.tasks(name, "bundle") | {"catalog"}

    def layer(self) -> Model:
        name = self.name()
        shutil.rmtree(self.folder / name)
        Layout(self.folder / name).image(BASE, self.content(), cmd=["sh"])
        return self.tasks(name, "tree", "rootfs", "spec", "bundle") | {"catalog", "layer"}

    def reordered(self) -> Model:
        images = self.images
        self.images = dict(self.random.sample(sorted(images.items()), len(images)))
        self.write()
        self.images = images
        return set()

    def shared(self) -> Model:
        """Roots share their files from now on, or do no longer."""
        if ("", "share") in self.toggled:
            return set()
        self.toggled.add(("", "share"))
        self.share = not self.share
        self.write()
        return set().union(*(self.tasks(name, "rootfs", "bundle") for name in self.images))

    def touched(self) -> Model:
        for path in (self.folder / self.name()).rglob("*"):
            os.utime(path)
        return set()

    def edited_output(self) -> Model:
        name = self.name()
        path = self.folder / f"bundles/{name}/linux-amd64" / self.random.choice(JSON_FILES)
        if self.random.random() < 0.5:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(b"{}")
        return self.tasks(name, "bundle")

    def touched_output(self) -> Model:
        os.utime(self.folder / f"bundles/{self.name()}/linux-amd64" / self.random.choice(JSON_FILES))
        return set()

    def stray(self) -> Model:
        name = self.name()
        (self.folder / f"bundles/{name}/linux-amd64/stray").write_text("")
        return self.tasks(name, "bundle")

    def evicted(self) -> Model:
        for tar in self.folder.glob("cache/layers/sha256/*.tar"):
            tar.unlink()
        return set()

    def spare(self) -> Model:
        """Something of a spare root is changed, or of what is noted of it. It may be a file of the published root,
        too, which shares it; the content of such a file stays what it is, as only `verify` would see that."""
        parts = self.folder / f"bundles/.parts/{self.name()}/linux-amd64"
        notes = [path for path in parts.iterdir() if path.name.startswith("spare.")]
        inside = sorted(path for path in (parts / "spare").rglob("*") if not path.is_symlink())
        if not inside:
            return set()
        path = self.random.choice(self.random.choice([notes, inside, inside, [parts / "spare"]]))
        changes = FOLDER_CHANGES if path.is_dir() else FILE_CHANGES
        if path.is_file() and (path in notes or path.lstat().st_nlink == 1):
            changes = [*FILE_CHANGES, lambda path: path.write_bytes(path.read_bytes()[1:] + b"x")]
        self.random.choice(changes)(path)
        return set()

    def anew(self, name: str) -> list[str]:
        """What the root of an image is when it is made of nothing."""
        index = (self.folder / name / "index.json").read_bytes()
        if index not in self.made_anew:
            fresh = self.folder / "fresh"
            fresh.mkdir()
            os.symlink(self.folder / name, fresh / name)
            write_catalog(fresh, {name: {"source": f"oci:{name}"}})
            assert run_doit(fresh).exit == 0
            self.made_anew[index] = self.root(name, fresh)
            shutil.rmtree(fresh)
        return self.made_anew[index]

    def root(self, name: str, folder: Path | None = None) -> list[str]:
        return roots.of_folder(str((folder or self.folder) / f"bundles/{name}/linux-amd64/rootfs"))

    def inodes(self, what: str) -> dict[str, int]:
        """Of the roots of all images: those that are published (`{}/linux-amd64/rootfs`), or their spare ones."""
        paths = {name: self.folder / "bundles" / what.format(name) for name in self.images}
        return {name: path.lstat().st_ino for name, path in paths.items() if os.path.lexists(path)}

    def added(self) -> Model:
        name = f"n{self.content_number}"
        Layout(self.folder / name).image(BASE, self.content(), cmd=["sh"])
        self.images[name] = {"source": f"oci:{name}"}
        self.write()
        return self.tasks(name, "tree", "rootfs", "spec", "boot", "bundle") | {"layer", "catalog"}

    def removed(self) -> Model:
        if len(self.images) < 3:
            return set()
        name = self.name()
        del self.images[name]
        shutil.rmtree(self.folder / name)
        self.write()
        return {"catalog"}

    def alone(self) -> list[Edit]:
        """Edits that come one at a time."""
        return [self.added, self.removed, self.shared]

    def together(self) -> list[Edit]:
        """Edits that may come with others."""
        return [
            self.boot,
            self.args,
            self.sbom,
            self.layer,
            self.reordered,
            self.touched,
            self.edited_output,
            self.touched_output,
            self.stray,
            self.spare,
            self.evicted,
        ]

    def step(self) -> tuple[list[str], Model]:
        """Makes some edits; gives what they are called, and what must run."""
        self.toggled.clear()
        if self.random.random() < 0.2:
            edits = [self.random.choice(self.alone())]
        else:
            edits = self.random.choices(self.together(), k=self.random.choice([0, 1, 1, 1, 2, 3]))
        made, want = [], set[str]()
        for edit in edits:
            try:
                want |= edit()
            except FileNotFoundError:  # an output that an earlier edit of this step has removed
                continue
            made.append(edit.__name__)
        return made, want
