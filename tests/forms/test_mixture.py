"""Random edits of a catalog with many forms, runs killed midway among them: after the next run each form that is
listed is there and no other, reads back as the tree, and has the bytes of a build from nothing; what ran is what the
edits touched.

`C2WTASKS_MUTATIONS` sets how many (hundreds for a long run by hand), `C2WTASKS_SEED` which.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.bundlefile.boot import PRESETS
from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.disk import files
from c2wtasks.tree import treefile
from c2wtasks.tree.treefile import TreeFile
from tests.forms.reading import FILES, assert_holds
from tests.graph.catalogs import families, write_catalog
from tests.graph.mutations import JSON_FILES, Catalog, Edit, Model
from tests.soak.crashes import random_tree
from tests.support import roots
from tests.support.forked import killed_forked
from tests.support.images import Tree
from tests.support.running import executed, foretold, run_doit

STEPS = int(os.environ.get("C2WTASKS_MUTATIONS", "6"))
HELD_JSON = {"iso-vm": JSON_FILES[:3], "context": JSON_FILES[:3], "imagemounter": ["image.json"]}
"""What is made again with which files."""
FOLDERS = {"dir", "9p"}
NOTES = {"standing", "standing.tree", "boot"}
"""What may be in a bundle's private folder, and is no part of it."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: images are mounted, owners compared")


@dataclass(frozen=True)
class Fresh:
    """A bundle as it is built from nothing."""

    published: list[str]
    parts: set[str]
    tree: TreeFile
    tars: list[bytes]

    def files(self, names: Collection[str]) -> list[str]:
        return [line for line in self.published if line.partition(" ")[0] in names]


def compared(bundle: Path) -> list[str]:
    """What a bundle is, but for when its own files were published; inside its root times count."""
    lines = []
    for line in roots.of_folder(bundle):
        fields = line.split(" ")
        if not line.startswith(("rootfs/", "9p/rootfs/")) and fields[1] == "f":
            fields[4] = "-"
        lines.append(" ".join(fields))
    return lines


class Mixture(Catalog):
    """A catalog whose images have random forms, each image others."""

    def __init__(self, folder: Path, scratch: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.scratch = scratch
        self.fresh: dict[str, tuple[str, Fresh]] = {}
        self.changes = 0
        for image in self.images.values():
            image["rootfs"] = self.some_forms()
        self.write()
        self.before = self.bundles()

    def bundles(self) -> dict[str, Bundle]:
        """By the names of their images, as bundle.yaml has them."""
        return {bundle.name: bundle for bundle in load(f"{self.folder}/bundle.yaml").bundles}

    def forms(self, name: str) -> set[str]:
        """The names of those that the last run was to make."""
        return {form.name for form in self.before[name].forms}

    def alone(self) -> list[Edit]:
        """Without `share`, which is nothing for most forms, and which 9p refuses."""
        return [edit for edit in super().alone() if edit != self.shared]

    def published(self, name: str) -> Path:
        return self.folder / f"bundles/{name}/linux-amd64"

    def parts(self, name: str) -> Path:
        return self.folder / f"bundles/.parts/{name}/linux-amd64"

    # Edits. Of what they do to the settings of a bundle that a run can tell itself, `resolved` sees what follows.

    def write(self) -> None:
        """Adds the folder to external bundles, which have no other form."""
        for image in self.images.values():
            if image.get("boot", {}).get("external_bundle"):
                image["rootfs"] = ["9p", *(form for form in image["rootfs"] if _name(form) not in FOLDERS)]
        super().write()

    def boot(self) -> Model:
        super().boot()
        return set()

    def tasks(self, name: str, *families: str) -> Model:
        """With `rootfs:<bundle>` for all forms of it, until `resolved`."""
        return {f"{family}:{name}@linux/amd64" for family in families}

    def content(self) -> Tree:
        self.content_number += 1
        return random_tree(self.random, files=25)

    def some_forms(self) -> list[Any]:
        """Up to five, of each one or the other kind of folder at most."""
        kinds = [self.random.choice(["dir", "9p"]), *set(FILES) - FOLDERS]
        return [self.form(name) for name in self.random.sample(sorted(kinds), self.random.randint(1, 5))]

    def form(self, name: str) -> Any:
        """A form of that name, with random options; a default may be spelt out or not."""
        kind, _, other = name.partition("-")
        one_of = self.random.choice
        match kind:
            case "tar" if other:
                return {"form": "tar", "compression": other, "level": one_of([1, 2, 3])}
            case "iso":
                return {"form": "iso", "tree": other or "rootfs"}
            case "ext4":
                return one_of(
                    ["ext4", {"form": "ext4", "journal": one_of([True, False])}, {"form": kind, "size": "9M"}]
                )
            case "squashfs":
                return one_of(["squashfs", {"form": kind, "compression": one_of(["gzip", "lz4", "xz", "zstd"])}])
            case "imagemounter":
                return one_of(["imagemounter", {"form": kind, "compression": "gzip"}])
        return name

    def other_forms(self) -> Model:
        self.images[self.name()]["rootfs"] = self.some_forms()
        self.write()
        return set()

    def one_more_or_less(self) -> Model:
        name = self.name()
        have = list(self.images[name]["rootfs"])
        missing = set(FILES) - set(map(_name, have)) - FOLDERS
        if not missing or (len(have) > 1 and self.random.random() < 0.5):
            have.remove(self.random.choice(have))
        else:
            have.insert(self.random.randint(0, len(have)), self.form(self.random.choice(sorted(missing))))
        self.images[name]["rootfs"] = have
        self.write()
        return set()

    def shuffled(self) -> Model:
        self.random.shuffle(self.images[self.name()]["rootfs"])
        self.write()
        return set()

    def option(self) -> Model:
        name = self.name()
        self.images[name]["rootfs"] = [self.form(_name(form)) for form in self.images[name]["rootfs"]]
        self.write()
        return set()

    def owner(self) -> Model:
        image = self.images[self.name()]
        image["same_owner"] = not image.get("same_owner", True)
        self.write()
        return set()

    def preset(self) -> Model:
        self.images[self.name()]["boot"] = {"preset": self.random.choice(sorted(PRESETS))}
        self.write()
        return set()

    def external(self) -> Model:
        """A bundle with no form but one of a folder, which comes apart from the VM; or one as all the others."""
        boot = self.images[self.name()].setdefault("boot", {})
        boot["external_bundle"] = not boot.get("external_bundle", False)
        self.write()
        return set()

    def published_form(self) -> Model:
        """A form's file, or its folder, is gone, or another lies there."""
        name = self.name()
        path = self.published(name) / FILES[self.random.choice(sorted(self.built_files(name)))]
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
            if self.random.random() < 0.5:
                path.write_text("another")
        return self.tasks(name, "bundle")

    def published_folder(self) -> Model:
        name = self.name()
        shutil.rmtree(self.published(name))
        folder = {f"rootfs:{name}@linux/amd64:{form}" for form in self.forms(name) & FOLDERS}
        return self.tasks(name, "bundle") | folder

    def part_of_form(self) -> Model:
        """What is kept of a form, or known of it, is gone."""
        name = self.name()
        form = self.random.choice(sorted(self.built_files(name)))
        if self.random.random() < 0.5:
            (self.parts(name) / f"form-{form}.json").unlink()
        else:
            shutil.rmtree(self.parts(name) / f"form-{form}")
        return {f"rootfs:{name}@linux/amd64:{form}"}

    def tree_file(self) -> Model:
        name = self.name()
        (self.parts(name) / "tree").unlink()
        return self.tasks(name, "tree")

    def built_files(self, name: str) -> set[str]:
        """The forms that are files, of the last run."""
        found = self.forms(name) - FOLDERS
        if not found:
            raise FileNotFoundError
        return found

    def added(self) -> Model:
        want = super().added()
        name = list(self.images)[-1]
        self.images[name]["rootfs"] = self.some_forms()
        self.write()
        return want

    def removed(self) -> Model:
        want = super().removed()
        assert run_doit(self.folder, "prune").exit == 0
        return want

    def together(self) -> list[Edit]:
        return [
            *(edit for edit in super().together() if edit != self.touched_output),  # which stays so, see `damaged`
            *2 * [self.other_forms, self.one_more_or_less, self.option, self.published_form],
            *[self.shuffled, self.owner, self.preset, self.external],
            *[self.published_folder, self.part_of_form, self.tree_file],
        ]

    def damaged(self) -> str:
        """Changes a published file, or its time, where it lies: a run need not see that, but an audit does."""
        name = self.name()
        path = self.random.choice(sorted(path for path in self.published(name).rglob("*") if _is_filled(path)))
        if self.random.random() < 0.3:
            os.utime(path, (1, 1))
            return str(path.relative_to(self.folder))
        with path.open("r+b") as stream:
            at = self.random.randrange(path.stat().st_size)
            stream.seek(at)
            (byte,) = stream.read(1)
            stream.seek(at)
            stream.write(bytes([byte ^ 1]))
        return str(path.relative_to(self.folder))

    # What must be, then.

    def resolved(self, want: Model) -> Model:
        """The tasks that must run where those of `want` must, and by what has changed since this was asked last."""
        found = {task for task in want if not task.startswith("rootfs:")}
        bundles, built = self.bundles(), self.build_fresh()
        for name, now in bundles.items():
            bundle, before = f"{name}@linux/amd64", self.before.get(name)
            again = {form.name for form in now.forms if f"rootfs:{bundle}:{form.name}" in want}
            if before is None or f"rootfs:{bundle}" in want:
                again |= {form.name for form in now.forms}
            if before is not None:
                again |= {form.name for form in now.forms if form not in before.forms}
                if now.same_owner != before.same_owner:
                    found |= self.tasks(name, "tree")
                if now.boot != before.boot:
                    found |= self.tasks(name, "boot")
                if now.preset != before.preset:
                    again |= {form.name for form in now.forms} & {"context"}
            old, new = built[name]
            if old is not None and old.tree != new.tree:
                found |= self.tasks(name, "spec")
                again |= {form.name for form in now.forms}
            if old is None or old.published != new.published:
                found |= self.tasks(name, "bundle") | {"catalog"}
            for form in now.forms:
                held = HELD_JSON.get(form.name, ())
                if old is None or old.files(held) != new.files(held):
                    again.add(form.name)
            found |= {f"rootfs:{bundle}:{form}" for form in again}
        self.before = bundles
        return found

    def build_fresh(self) -> dict[str, tuple[Fresh | None, Fresh]]:
        """Builds from nothing the images that are not as they were. Gives of each what it was and what it is."""
        old = {name: fresh for name, (_, fresh) in self.fresh.items()}
        keys = {
            name: json.dumps([image, (self.folder / name / "index.json").read_text()])
            for name, image in self.images.items()
        }
        self.fresh = {name: pair for name, pair in self.fresh.items() if keys.get(name) == pair[0]}
        images = {name: image for name, image in self.images.items() if name not in self.fresh}
        if images:
            self.build(images, keys)
        return {name: (old.get(name), self.fresh[name][1]) for name in self.images}

    def build(self, images: Mapping[str, Any], keys: Mapping[str, str]) -> None:
        other = Mixture.__new__(Mixture)  # only for where things are
        other.folder = self.scratch / "fresh"
        other.folder.mkdir()
        for name in images:
            (other.folder / name).symlink_to(self.folder / name)
        write_catalog(other.folder, dict(images))
        assert run_doit(other.folder).exit == 0
        for name in images:
            tree = treefile.decode((other.parts(name) / "tree").read_bytes())
            store = other.folder / "cache/layers"
            tars = [(store / f"{layer.replace(':', '/')}.tar").read_bytes() for layer in tree.layers]
            parts = set(os.listdir(other.parts(name)))
            self.fresh[name] = keys[name], Fresh(compared(other.published(name)), parts, tree, tars)
        files.remove_tree(str(other.folder))

    def check(self, read: Callable[[str], bool]) -> None:
        """That all is as if built from nothing; the forms of images of which `read` says so are read."""
        others = {".history", ".parts", "catalog.json", "catalog.html", "feed.atom", "feeds"}
        assert {path.name for path in (self.folder / "bundles").iterdir()} == {*self.images, *others}
        listed = json.loads((self.folder / "bundles/catalog.json").read_text())["bundles"]
        assert [(one["name"], one["status"]) for one in listed] == [(name, "built") for name in sorted(self.images)]
        for name in self.images:
            want = self.fresh[name][1]
            there = {path.name for path in self.published(name).iterdir()}
            assert there == {*JSON_FILES, "packages.json", "SHA256SUMS", *(FILES[form] for form in self.forms(name))}
            assert compared(self.published(name)) == want.published
            assert set(os.listdir(self.parts(name))) - NOTES == want.parts - NOTES
            if not read(name):
                continue
            for form in sorted(self.forms(name)):
                place = self.scratch / f"read-{form}"
                print(f"{name}: {form}")
                assert_holds(form, self.published(name), want.tree, want.tars, place)
                files.remove_tree(str(place))
        debris = list((self.folder / "bundles").rglob(".tmp-*")) + list(self.folder.glob(".doit.db.*"))
        assert [path for path in debris if path.name != ".doit.db.lock"] == []


def _name(form: Any) -> str:
    """What a form is called that bundle.yaml has so."""
    if isinstance(form, str):
        return form
    kind: str = form["form"]
    other = {"iso": form.get("tree"), "tar": form.get("compression")}.get(kind)
    return f"{kind}-{other}" if other not in (None, "rootfs") else kind


def _is_filled(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size > 0


def test_mixture(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    mixture = Mixture(tmp_path / "catalog", tmp_path, seed=int(os.environ.get("C2WTASKS_SEED", "20")))
    rng = mixture.random
    mixture.build_fresh()
    assert executed(mixture.folder)
    for step in range(STEPS):
        made, touched = mixture.step()
        killed = rng.random() < 0.3
        try:
            one_step(mixture, touched, killed=killed)
        except AssertionError as error:
            error.add_note(f"step {step}: {made}{', and a run killed' * killed}")
            raise


def one_step(mixture: Mixture, touched: Model, *, killed: bool) -> None:
    folder, rng = mixture.folder, mixture.random
    want = mixture.resolved(touched)
    for _ in range(rng.randint(1, 3) if killed else 0):
        killed_forked(folder, rng.uniform(0, 0.7))
    certain, possible = foretold(folder)
    ran = executed(folder)
    assert families(ran) - want == set()
    if not killed:  # else some is done, and what a run puts in order first is not foretold
        assert want - families(ran) == set()
        assert certain <= ran <= possible
    mixture.check(lambda name: f"bundle:{name}@linux/amd64" in want)
    if rng.random() < 0.2:
        damaged = mixture.damaged()
        assert run_doit(folder, "verify").exit == 1, damaged
        assert run_doit(folder, "verify", "--repair").exit == 0, damaged
        mixture.check(lambda name: f"/{name}/" in damaged)
    assert run_doit(folder, "verify").exit == 0
    assert executed(folder) == set()
