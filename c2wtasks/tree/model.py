"""A root file system in memory. Files are kept apart from their names, so a hard link is two names for one inode.

Names and targets are bytes, as a kernel has them.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from c2wtasks.layers.fragments import Fragments

DIRECTORY, FILE, SYMLINK, CHARACTER, BLOCK, FIFO = "d", "f", "l", "c", "b", "p"

TYPE_BITS = {
    DIRECTORY: stat.S_IFDIR,
    FILE: stat.S_IFREG,
    SYMLINK: stat.S_IFLNK,
    CHARACTER: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
}
"""The kind of a file as Linux has it in a mode (inode(7)), and file systems and archives after it."""
DIRENT_TYPES = {FILE: 1, DIRECTORY: 2, CHARACTER: 3, BLOCK: 4, FIFO: 5, SYMLINK: 7}
"""What the names of a file say of it, in the directories of ext4 and EROFS."""


class Content(NamedTuple):
    """Where a file's content lies: in the tar of layer number `layer` (0 is the lowest), from `offset` on.

    `sparse` as in `layers.entry.Entry`.
    """

    layer: int
    offset: int
    sparse: Fragments | None


@dataclass(slots=True, eq=False)
class Inode:
    """One file, of any kind. `mtime_ns` is None for a directory that no entry of any layer names.

    `children` is None for all but directories; `content` for all but files.
    """

    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int | None = None
    size: int = 0
    content: Content | None = None
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] | None = None
    children: dict[bytes, Inode] | None = None

    def names(self) -> dict[bytes, Inode]:
        """A directory's entries."""
        assert self.children is not None
        return self.children


def new_directory() -> Inode:
    """A directory as containerd makes one that no entry names: 0755, of root."""
    return Inode(DIRECTORY, 0o755, children={})


def walk(root: Inode) -> Iterator[tuple[bytes, Inode]]:
    """Every path below `root` with its inode, parents first, the names of a directory in byte order."""
    stack = [(b"", root)]
    while stack:
        path, inode = stack.pop()
        if path:
            yield path, inode
        if inode.children:
            prefix = path + b"/" if path else b""
            stack.extend((prefix + name, inode.children[name]) for name in sorted(inode.children, reverse=True))
