"""Generated catalogs of any size, over small images: three layers each, half of the middle ones shared by two. And
images over others, each with a small layer of its own on top."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

from tests.support.images import REF_NAME, Layer, Layout, to_json  # noqa: E402


class QuietLayout(Layout):
    """A layout that writes its index once, in `finish`, not for each image."""

    def write_index(self) -> None:
        pass

    def finish(self) -> None:
        super().write_index()


def generate(folder: Path, bundles: int) -> None:
    """A catalog of that many bundles (1.5 x as many distinct layers, and one), with the project's dodo.py."""
    folder.mkdir(parents=True)
    layout = QuietLayout(folder / "layout")
    base = Layer.of({"etc/passwd": "root:x:0:0::/:/bin/sh\n", "bin/sh": "x"}, "gzip")
    images = {}
    for number in range(bundles):
        middle = Layer.of({f"middle/{number // 2}": "m"}, "gzip")
        top = Layer.of({f"top/{number}": "t"}, "gzip")
        layout.image(base, middle, top, tag=f"t{number}", cmd=["sh"])
        images[f"image{number}"] = f"oci:layout:t{number}"
    layout.finish()
    (folder / "bundle.yaml").write_text(json.dumps({"platforms": ["linux/amd64"], "images": images}))
    shutil.copy(PROJECT / "dodo.py", folder)


def topped(folder: Path, layout: Path, tags: Sequence[str], count: int) -> dict[str, str]:
    """Copies a layout into `folder` and adds so many images to it, of each tag about as many: it, and an application.
    Gives the sources by name, as from the folder above."""
    shutil.copytree(layout, folder)
    index = json.loads((folder / "index.json").read_text())
    listed = {one["annotations"][REF_NAME]: one for one in index["manifests"]}

    def read(descriptor: dict[str, Any]) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((folder / "blobs" / descriptor["digest"].replace(":", "/")).read_text())
        return document

    added = QuietLayout.__new__(QuietLayout)  # one that is there
    added.folder, added.algorithm, added.listed = folder, "sha256", index["manifests"]
    sources = {}
    for number in range(count):
        tag = tags[number % len(tags)]
        manifest = read(listed[tag])
        config = read(manifest["config"])
        module = f"srv/app/node_modules/module{number}"
        top = Layer.of(
            {
                f"srv/app/main{number}.js": "x",
                f"srv/app/settings/{number % 7}": "y",
                f"{module}/package.json": f'{{"name": "module{number}", "version": "1.0.{number}"}}',
            },
            "gzip",
        )
        config["rootfs"]["diff_ids"].append(top.diff_id)
        config["history"] = [*config.get("history", ()), {"created_by": "COPY . /srv/app"}]
        manifest["config"] = added.put(to_json(config), manifest["config"]["mediaType"])
        manifest["layers"].append(added.put(top.blob, "application/vnd.oci.image.layer.v1.tar+gzip"))
        name = f"{tag}-{number}"
        added.list(added.put(to_json(manifest), listed[tag]["mediaType"], annotations={REF_NAME: name}))
        sources[name] = f"oci:layout:{name}"
    added.finish()
    return sources
