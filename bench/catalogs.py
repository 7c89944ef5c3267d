"""Generated catalogs of any size, over small images: three layers each, half of the middle ones shared by two."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

from tests.support.images import Layer, Layout  # noqa: E402


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
