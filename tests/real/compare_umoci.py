"""Compares what we make of the tags of an image layout with what `umoci raw unpack` makes of them, entry for entry:
owner, mode, size, content, links, xattrs, and the mtimes of all but directories (umoci sets those of the last layer
only). Needs root and umoci. Run by hand, on real images:

    python tests/real/compare_umoci.py LAYOUT [FOLDER]

Prints every entry that differs; exits with 1 if one does that is not in the list of known reasons.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

DODO = Path(__file__).parents[2] / "dodo.py"
REF_NAME = "org.opencontainers.image.ref.name"


def build(layout: Path, folder: Path) -> list[str]:
    """Builds every tag of the layout; returns the tags."""
    index = json.loads((layout / "index.json").read_text())
    tags = [entry["annotations"][REF_NAME] for entry in index["manifests"]]
    images = {tag: f"oci:{layout.resolve()}:{tag}" for tag in tags}
    (folder / "bundle.yaml").write_text(json.dumps({"platforms": ["linux/amd64"], "images": images}))
    shutil.copy(DODO, folder)
    subprocess.run([sys.executable, "-m", "doit"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return tags


def differences(have: Path, want: Path) -> Iterator[tuple[str, str]]:
    """(path, what differs), for every entry below two folders."""
    yield from _compare(have, want, "", {}, {})


def _compare(
    have: Path, want: Path, path: str, have_links: dict[int, str], want_links: dict[int, str]
) -> Iterator[tuple[str, str]]:
    names = sorted({*os.listdir(have / path), *os.listdir(want / path)})
    for name in names:
        below = f"{path}/{name}".lstrip("/")
        ours, theirs = have / below, want / below
        if not (os.path.lexists(ours) and os.path.lexists(theirs)):
            yield below, "missing here" if os.path.lexists(theirs) else "only here"
            continue
        here, there = ours.lstat(), theirs.lstat()
        for what in ("st_mode", "st_uid", "st_gid", "st_rdev"):
            if getattr(here, what) != getattr(there, what):
                yield below, f"{what}: {getattr(here, what):o} here, {getattr(there, what):o} there"
        if stat.S_IFMT(here.st_mode) != stat.S_IFMT(there.st_mode):
            continue
        if _xattrs(ours) != _xattrs(theirs):
            yield below, f"xattrs: {_xattrs(ours)} here, {_xattrs(theirs)} there"
        if stat.S_ISDIR(here.st_mode):
            yield from _compare(have, want, below, have_links, want_links)
            continue
        if here.st_mtime_ns != there.st_mtime_ns:
            yield below, f"mtime: {here.st_mtime_ns} here, {there.st_mtime_ns} there"
        if here.st_nlink > 1 or there.st_nlink > 1:
            first_here, first_there = (
                have_links.setdefault(here.st_ino, below),
                want_links.setdefault(there.st_ino, below),
            )
            if first_here != first_there:
                yield below, f"linked to {first_here} here, to {first_there} there"
        if stat.S_ISLNK(here.st_mode) and os.readlink(ours) != os.readlink(theirs):
            yield below, f"target: {os.readlink(ours)} here, {os.readlink(theirs)} there"
        if stat.S_ISREG(here.st_mode) and not filecmp.cmp(ours, theirs, shallow=False):
            yield below, "content"


def _xattrs(path: Path) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    # umoci keeps its own notes on files it unpacks without privileges
    return {
        name: os.getxattr(path, name, follow_symlinks=False) for name in names if not name.startswith("user.rootless")
    }


def main(layout: Path, folder: Path) -> int:
    tags = build(layout, folder)
    found = 0
    for tag in tags:
        want = folder / "umoci" / tag
        want.parent.mkdir(exist_ok=True)
        command = ["umoci", "raw", "unpack", "--image", f"{layout}:{tag}", str(want)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        have = folder / "bundles" / tag / "linux-amd64" / "rootfs"
        entries = sum(len(dirs) + len(names) for _, dirs, names in os.walk(have))
        lines = list(differences(have, want))
        found += len(lines)
        print(f"{tag}: {entries} entries, {len(lines)} differences")
        for path, what in lines:
            print(f"  {path}: {what}")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())
    place.mkdir(parents=True, exist_ok=True)
    sys.exit(main(Path(sys.argv[1]).resolve(), place))
