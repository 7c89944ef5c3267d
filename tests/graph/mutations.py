"""A catalog under random change: edits of bundle.yaml, layouts, outputs and cache, and what each makes run."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.graph.catalogs import BASE, small_catalog, write_catalog
from tests.support.images import Layout, Tree

JSON_FILES = ["image.json", "spec.json", "initconfig.json", "bundle.json"]

Model = set[str]
Edit = Callable[[], Model]


class Catalog:
    """A catalog under change. Each edit gives the tasks that must run for it, layers' under their family."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.images: dict[str, Any] = small_catalog(folder)
        self.content_number = 0
        self.toggled: set[tuple[str, str]] = set()  # in this step

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
        write_catalog(self.folder, self.images)

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

    def layer(self) -> Model:
        name = self.name()
        shutil.rmtree(self.folder / name)
        Layout(self.folder / name).image(BASE, self.content(), cmd=["sh"])
        return self.tasks(name, "tree", "rootfs", "spec", "bundle") | {"catalog", "layer"}

    def reordered(self) -> Model:
        write_catalog(self.folder, dict(self.random.sample(sorted(self.images.items()), len(self.images))))
        return set()

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
        return [self.added, self.removed]

    def together(self) -> list[Edit]:
        """Edits that may come with others."""
        return [
            self.boot,
            self.args,
            self.layer,
            self.reordered,
            self.touched,
            self.edited_output,
            self.touched_output,
            self.stray,
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
