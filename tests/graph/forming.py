"""A catalog whose image `web` has forms, and what is published of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.graph.catalogs import small_catalog, write_catalog

WEB = "web@linux/amd64"
PUBLISHED = Path("bundles/web/linux-amd64")


def catalog(folder: Path, forms: list[Any]) -> dict[str, Any]:
    """The small catalog, with these forms for `web`."""
    folder.mkdir(exist_ok=True)
    images = small_catalog(folder)
    images["web"]["rootfs"] = forms
    write_catalog(folder, images)
    return images


def files_of(folder: Path) -> dict[str, bytes]:
    """All files below, but for those in rootfs/."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith("rootfs/"):
            found[name] = path.read_bytes()
    return found
