"""Random edits of bundle.yaml, layouts, outputs and cache: what runs is what the edits touched, by a model; and
`doit why` has said so before.

`C2WTASKS_MUTATIONS` sets how many (10,000 for a long run by hand), `C2WTASKS_SEED` which.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.graph.catalogs import BASE, small_catalog, write_catalog
from tests.support.forked import executed_forked, json_forked
from tests.support.images import Layout

STEPS = int(os.environ.get("C2WTASKS_MUTATIONS", "60"))
JSON_FILES = ["image.json", "spec.json", "initconfig.json", "bundle.json"]

Model = set[str]


class Catalog:
    """A catalog under change. Each edit returns the tasks that must run for it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.images: dict[str, Any] = small_catalog(folder)
        self.content = 0
        self.toggled: set[tuple[str, str]] = set()  # in this step

    def name(self) -> str:
        return self.random.choice(sorted(self.images))

    @staticmethod
    def tasks(name: str, *families: str) -> Model:
        bundle = f"{name}@linux/amd64"
        return {f"{family}:{bundle}" + (":dir" if family == "rootfs" else "") for family in families}

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
        self.content += 1
        self.images[name]["process"] = {"args": [f"a{self.content}"]}
        self.write()
        return self.tasks(name, "spec", "bundle") | {"catalog"}

    def layer(self) -> Model:
        name = self.name()
        self.content += 1
        shutil.rmtree(self.folder / name)
        Layout(self.folder / name).image(BASE, {"changed": str(self.content)}, cmd=["sh"])
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
        name = f"n{self.content}"
        self.content += 1
        Layout(self.folder / name).image(BASE, {"new": str(self.content)}, cmd=["sh"])
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

    def edits(self) -> list[Callable[[], Model]]:
        one_at_a_time: list[Callable[[], Model]] = [self.added, self.removed]
        together: list[Callable[[], Model]] = [
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
        self.toggled.clear()
        if self.random.random() < 0.2:
            return [self.random.choice(one_at_a_time)]
        return self.random.choices(together, k=self.random.choice([0, 1, 1, 1, 2, 3]))


def families(tasks: set[str]) -> set[str]:
    return {"layer" if task.startswith("layer:") else task for task in tasks}


def test_what_runs_is_what_was_touched(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, seed=int(os.environ.get("C2WTASKS_SEED", "20")))
    assert executed_forked(tmp_path)
    for step in range(STEPS):
        made = []
        want: Model = set()
        for edit in catalog.edits():
            try:
                want |= edit()
            except FileNotFoundError:  # an output that an earlier edit of this step has removed
                continue
            made.append(edit.__name__)
        why = json_forked(tmp_path, "why")["stale"]
        certain = {task["task"] for task in why if task["reasons"]}
        possible = {task["task"] for task in why}
        ran = executed_forked(tmp_path)
        assert families(ran) == want, f"step {step}: {made}"
        assert certain <= ran <= possible, f"step {step}: {made}"
        assert executed_forked(tmp_path) == set(), f"step {step}: {made}"
