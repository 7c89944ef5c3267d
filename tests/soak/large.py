"""Every entry of a tree with 100,000 files in one folder and 70,000 names of one file, as others read it in the
archives. By hand and as root, a minute each:

    python -m tests.soak.large [tar|cpio|iso ...]

It works in memory, as most file systems on disks allow a file fewer names.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from c2wtasks.disk import files
from c2wtasks.rootfs import cpio, iso, tar
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.tree.treefile import TreeFile
from tests.rootfs import reading, test_cpio, test_iso
from tests.support import roots
from tests.support.nasty import nasty

Lines = list[str]
SHARED_MEMORY = "/dev/shm"


def unpacked(archive: Path) -> Lines:
    place = archive.with_suffix(".unpacked")
    try:
        return reading.by_tool(place, "libarchive-tools", ["bsdtar", "--numeric-owner", "-xpf", str(archive)])
    finally:
        files.remove_tree(str(place))


FORMS: dict[str, tuple[Callable[[TreeFile, TarByNumber, str], None], Callable[[TreeFile], TreeFile]]] = {
    "tar": (tar.write, lambda tree: tree),
    "cpio": (cpio.write, test_cpio.as_held),
    "iso": (iso.write, test_iso.held),
}


def check(form: str, folder: Path) -> int:
    """Gives how many entries were compared."""
    tree, tars = nasty(folder, files=100_000, links=70_000)
    if form == "iso":
        tree = test_iso.without(tree, test_iso.misread_by_bsdtar)
    write, held = FORMS[form]
    archive = folder / form
    write(tree, tars.__getitem__, str(archive))
    want = roots.of_tree(held(tree), [Path(path).read_bytes() for path in tars])
    have = reading.by_python(archive) if form == "tar" else unpacked(archive)
    assert have[1:] == want[1:], [pair for pair in zip(have, want, strict=False) if pair[0] != pair[1]][:5]
    return len(have)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("forms", nargs="*", metavar="FORM", help="tar, cpio or iso; all, if none is named")
    for form in parser.parse_args().forms or FORMS:
        with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if os.path.isdir(SHARED_MEMORY) else None) as folder:
            print(f"{form}: {check(form, Path(folder))} entries: all well", flush=True)


if __name__ == "__main__":
    main()
