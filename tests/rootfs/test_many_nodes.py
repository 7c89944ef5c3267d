"""Forms of a tree that has too many nodes to keep them: byte for byte those of one with few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.rootfs import cpio, erofs, ext4, iso, squashfs, tar
from c2wtasks.tree import treefile
from c2wtasks.tree.graft import grafted
from c2wtasks.tree.treefile import PackedNodes, TreeFile
from tests.support.nasty import nasty

Write = Callable[[TreeFile, Callable[[int], str], str], None]

FORMS: dict[str, Write] = {
    "tar": tar.write,
    "cpio": cpio.write,
    "iso": iso.write,
    "ext4": lambda tree, tars, path: ext4.write(tree, tars, path, key=b"k"),
    "erofs": lambda tree, tars, path: erofs.write(tree, tars, path, key=b"k"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at", [b"", b"oci/rootfs"], ids=["alone", "grafted"])
def test_forms(form: str, at: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    for few in (treefile.FEW, 0):
        monkeypatch.setattr(treefile, "FEW", few)
        place = tmp_path / str(few)
        place.mkdir()
        tree, tars = nasty(place)
        tree = treefile.decode(treefile.encode(squashfs._as_held(tree)))
        if at:
            tree = grafted(tree, at, mtime_ns=5)
        assert isinstance(tree.nodes, PackedNodes) != bool(few)
        FORMS[form](tree, tars.__getitem__, str(place / "made"))
        made.append((place / "made").read_bytes())
    assert made[0] == made[1]
