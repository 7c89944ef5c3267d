"""What a form cannot hold is counted where, and only where, what is read back differs from the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from c2wtasks.bundlefile.forms import FORMS
from c2wtasks.rootfs import erofs, ext4, squashfs
from c2wtasks.rootfs.forms import maker_of
from c2wtasks.rootfs.holding import left_out
from c2wtasks.tree import treefile
from c2wtasks.tree.model import DIRECTORY, FILE, Inode
from c2wtasks.tree.treefile import TreeFile
from tests.rootfs.making import needs_root
from tests.support import roots
from tests.support.random_layers import ACL_NAMES, ACLS, CAPABILITY

SECOND = 10**9
TIME = 1_500_000_000 * SECOND
YEAR = 31_556_952 * SECOND
ACL = {ACL_NAMES[0]: ACLS[1]}


def tree_of(**fields: object) -> TreeFile:
    file = Inode(FILE, **{"mode": 0o677, "mtime_ns": TIME, **fields})  # type: ignore[arg-type]
    return treefile.flatten(Inode(DIRECTORY, 0o755, mtime_ns=TIME, children={b"f": file}), [], default_mtime_ns=0)


PLAIN, WHOLE = "cpio iso squashfs", "cpio iso"
TREES: list[tuple[str, dict[str, object], str, str]] = [
    ("nothing", {}, "", ""),
    ("ACL", {"xattrs": ACL}, PLAIN, "1 ACL"),
    ("capability", {"xattrs": {b"security.capability": CAPABILITY}}, WHOLE, "1 file capability"),
    ("xattrs", {"xattrs": {b"user.a": b"", b"security.b": b"1"}}, WHOLE, "2 xattrs"),
    ("fraction", {"mtime_ns": TIME + 1}, PLAIN, "1 fraction of a second"),
    ("1969", {"mtime_ns": -SECOND}, "cpio squashfs", "1 time out of its range"),
    ("1901", {"mtime_ns": -(2**31) * SECOND}, "cpio squashfs", "1 time out of its range"),
    ("1901, before", {"mtime_ns": -(2**31 + 1) * SECOND}, "cpio squashfs ext4", "1 time out of its range"),
    ("1850", {"mtime_ns": -120 * YEAR}, "cpio iso squashfs ext4", "1 time out of its range"),
    ("2106", {"mtime_ns": (2**32 - 1) * SECOND}, "", ""),
    ("2106, after", {"mtime_ns": 2**32 * SECOND}, "cpio squashfs", "1 time out of its range"),
    ("2200", {"mtime_ns": 230 * YEAR}, "cpio iso squashfs", "1 time out of its range"),
]


@pytest.mark.parametrize(("fields", "forms", "said"), [pytest.param(*row, id=name) for name, *row in TREES])
def test_what_each_form_leaves_out(fields: dict[str, object], forms: str, said: str) -> None:
    tree = tree_of(**fields)
    kinds = [kind for kind, row in FORMS.items() if not row.folder]
    found = {kind: left_out(tree, maker_of(kind).limits) for kind in kinds}
    assert found == {kind: said if kind in forms.split() else "" for kind in kinds}


@pytest.mark.parametrize(("names", "said"), [(65_000, ""), (65_001, "1 hard link"), (130_001, "2 hard links")])
def test_hard_links(names: int, said: str) -> None:
    file = Inode(FILE, 0o644, mtime_ns=0)
    root = Inode(DIRECTORY, 0o755, mtime_ns=0, children={b"%d" % number: file for number in range(names)})
    tree = treefile.flatten(root, [], default_mtime_ns=0)
    assert left_out(tree, maker_of("ext4").limits) == said
    assert not left_out(tree, maker_of("erofs").limits)


@needs_root
@pytest.mark.parametrize("kind", ["ext4", "erofs", "squashfs"])
def test_what_is_mounted_differs_where_something_is_left_out(tmp_path: Path, kind: str) -> None:
    if kind == "squashfs" and not shutil.which("tar2sqfs"):
        pytest.skip("needs tar2sqfs: Debian package squashfs-tools-ng")
    files = {name.encode(): tree_of(**fields).nodes[1] for name, fields, _, _ in TREES}
    inodes = {
        name: Inode(FILE, node.mode, mtime_ns=node.mtime_ns, xattrs=dict(node.xattrs)) for name, node in files.items()
    }
    tree = treefile.flatten(Inode(DIRECTORY, 0o755, mtime_ns=TIME, children=inodes), [], default_mtime_ns=0)
    image, place = str(tmp_path / "image"), tmp_path / "mounted"
    writers = {
        "ext4": lambda: ext4.write(tree, [].__getitem__, image, key=b""),
        "erofs": lambda: erofs.write(tree, [].__getitem__, image, key=b"", created_ns=0),
        "squashfs": lambda: squashfs.write(tree, [].__getitem__, image),
    }
    writers[kind]()
    place.mkdir()
    done = subprocess.run(["mount", "-o", "loop,ro", image, place], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount {kind}: {done.stderr.strip()}")
    try:
        differing = {
            os.fsdecode(name)
            for name, node in files.items()
            if (path := place / os.fsdecode(name)).stat().st_mtime_ns != node.mtime_ns
            or {os.fsencode(key): roots.value_of(str(path), key) for key in os.listxattr(path)} != dict(node.xattrs)
        }
    finally:
        subprocess.run(["umount", place], check=True)
    assert differing == {name for name, _, forms, _ in TREES if kind in forms.split()}
