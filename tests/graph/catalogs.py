"""A small catalog for tests: two images that share a base layer, and a third that shares nothing."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from tests.support.images import Dir, File, Layout, Symlink, Tree

DODO = Path(__file__).parents[2] / "dodo.py"

BASE: Tree = {
    "bin/": Dir(mode=0o755, mtime=11),
    "bin/sh": File(mode=0o755, mtime=12, content="#!"),
    "etc/": Dir(mode=0o755, mtime=13),
    "etc/passwd": File(content="root:x:0:0::/:/bin/sh\napp:x:1001:1001::/:/bin/sh\n"),
    "etc/group": File(content="root:x:0:\napp:x:1001:\nstaff:x:50:app\n"),
    "etc/rc": Symlink("../bin/sh"),
}


def write_catalog(folder: Path, images: dict[str, Any], **more: Any) -> None:
    """bundle.yaml (as JSON, which is YAML too) and the project's own dodo.py."""
    text = json.dumps({"platforms": ["linux/amd64"], "images": images, **more}, indent=1)
    (folder / "bundle.yaml").write_text(text)
    shutil.copy(DODO, folder / "dodo.py")


def small_catalog(folder: Path) -> dict[str, Any]:
    """Writes the catalog, and gives its images as bundle.yaml has them, to change and write again."""
    web = Layout(folder / "web")
    web.image(BASE, {"srv/": None, "srv/index": "web\n"}, cmd=["httpd"], user="app")
    db = Layout(folder / "db")
    db.image(BASE, {"var/": None, "var/data": "db\n"}, compression="gzip", cmd=["db"])
    other = Layout(folder / "other")
    other.image({"only": "here"}, compression="zstd", cmd=["other"])
    images: dict[str, Any] = {
        "web": {"source": "oci:web"},
        "db": {"source": "oci:db"},
        "other": {"source": "oci:other"},
    }
    write_catalog(folder, images)
    time.sleep(0.03)  # so that a memo is kept at once: of files that have just changed, none is
    return images


def families(tasks: set[str]) -> set[str]:
    """Task names, those of layers shortened to their family: which layer is seldom the question."""
    return {"layer" if task.startswith("layer:") else task for task in tasks}
