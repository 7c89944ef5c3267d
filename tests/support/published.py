"""What lies in a published bundle beside its root."""

from __future__ import annotations

from pathlib import Path

OF_RUNS = {".parts", ".history", "catalog.html", "feed.atom", "feeds"}
"""In the output folder: what is private, or tells when runs were. All else is equal for equal inputs."""


def own_files(bundle: Path) -> dict[str, tuple[int, bytes]]:
    """The mode and content of each file of a bundle, but for those in its root, by its path."""
    found = {}
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        if not f"/{name}".count("/rootfs/") and not path.is_symlink() and path.is_file():
            found[name] = (path.stat().st_mode, path.read_bytes())
    return found
