"""Images of ext4 and EROFS: made, checked by the format's own tool, mounted, and held against their tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from c2wtasks.errors import OutputError
from c2wtasks.rootfs import erofs, ext4
from c2wtasks.tree.model import Inode
from c2wtasks.tree.treefile import ROOT, TreeFile
from tests.rootfs.making import flat, subfolder, with_copies
from tests.support import roots

KEY = b"key"
_NO_COMPLAINT = re.compile(r"^\w+ \d+\.\d|EXPERIMENTAL")
"""A program's name and version, and what erofs-utils says of its own state."""


def tool(package: str, *command: object) -> str:
    """What a program says; an AssertionError if it fails or complains."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"needs {command[0]}: Debian package {package}")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace", check=False)
    complaints = [line for line in done.stderr.splitlines() if not _NO_COMPLAINT.search(line)]
    assert (done.returncode, complaints) == (0, []), done.stdout[:2000]
    return done.stdout


def e2fsck(image: Path) -> None:
    """Looks at all and says nothing but that it looks."""
    said = tool("e2fsprogs", "e2fsck", "-fn", image).splitlines()
    assert [line for line in said if not line.startswith(("Pass ", f"{image}: "))] == []


def fsck_erofs(image: Path) -> None:
    assert image.stat().st_size % 4096 == 0
    tool("erofs-utils", "fsck.erofs", image)


@dataclass(frozen=True)
class Disk:
    """`most_names` is how many names a file can have; further ones are those of a copy."""

    kind: str
    write: Callable[..., None]
    check: Callable[[Path], None]
    most_names: int

    def written(self, tree: TreeFile, tars: Sequence[str], image: Path, **options: object) -> Path:
        """The image, checked."""
        self.write(tree, tars.__getitem__, str(image), **{"key": KEY, **options})
        self.check(image)
        return image

    @contextmanager
    def mounted(self, image: Path, options: str = "ro") -> Iterator[Path]:
        if os.geteuid() != 0:
            pytest.skip("needs root: mounts an image")
        command = ["mount", "-t", self.kind, "-o", f"loop,{options}", str(image)]
        with tempfile.TemporaryDirectory() as place:
            done = subprocess.run([*command, place], capture_output=True, text=True, check=False)
            for missing in ("failed to setup loop device", "unknown filesystem type"):
                if done.returncode != 0 and missing in done.stderr:
                    pytest.skip(f"needs loop devices and a kernel with {self.kind}: {done.stderr}")
            assert done.returncode == 0, done.stderr
            try:
                yield Path(place)
            finally:
                subprocess.run(["umount", place], check=True)

    def lines(self, place: Path, tree: TreeFile) -> list[str]:
        """What is mounted there, without a lost+found that the tree does not have."""
        lines = roots.of_folder(place)
        if self.kind != "ext4" or any(node.parent == ROOT and node.name == b"lost+found" for node in tree.nodes):
            return lines
        ours = [line for line in lines if line.startswith("lost+found")]
        assert ours == [f"lost+found d 0700 0:0 {tree.nodes[ROOT].mtime_ns}"]
        return [line for line in lines if line not in ours]

    def holds(self, tree: TreeFile, tars: Sequence[str], image: Path, **options: object) -> None:
        """An image of the tree is made and mounted, and has all that the tree has."""
        self.written(tree, tars, image, **options)
        with self.mounted(image) as place:
            want = roots.of_tree(with_copies(tree, self.most_names), [Path(tar).read_bytes() for tar in tars])
            assert self.lines(place, tree) == want

    def refuses(self, inode: Inode, wrong: str, image: Path) -> None:
        """It has no image where a tree has this file d/x, and says why."""
        with pytest.raises(OutputError) as caught:
            self.write(flat({b"d": subfolder({b"x": inode})}), [].__getitem__, str(image), key=KEY)
        assert str(caught.value) == f"{image}: {wrong}; leave it out of the image"
        assert not image.exists()


EXT4 = Disk("ext4", ext4.write, e2fsck, 65_000)
EROFS = Disk("erofs", erofs.write, fsck_erofs, 2**32 - 1)
each_disk = pytest.mark.parametrize("disk", [EXT4, EROFS], ids=lambda disk: disk.kind)
