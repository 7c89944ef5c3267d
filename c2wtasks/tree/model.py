"""A root file system in memory. Files are kept apart from their names, so a hard link is two names for one inode.

Names and targets are bytes, as a kernel has them.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

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

    `sparse` as in `layers.entry.TarEntry`.
    """

    layer: int
    offset: int
    sparse: Fragments | None


class Inode(msgspec.Struct, eq=False, gc=False):
    """One file, of any kind. `mtime_ns` is None for a directory that no entry of any layer names.

    `children` is None for all but directories; `content` for all but files. A directory is `marked` with the last
    layer that wrote its name; `changed` is the number of the last one that made it, or may have changed its names and
    what they are of, but for times.
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
    children: dict[bytes, Child] | None = None
    marked: bytes = b""
    changed: int = 0

    def names(self) -> dict[bytes, Child]:
        """A directory's entries."""
        assert self.children is not None
        return self.children

    def child(self, name: bytes) -> Inode | None:
        """What has a name in a directory. A file that is packed is unpacked: it is not to be changed."""
        found = self.names().get(name)
        return found if found is None or isinstance(found, Inode) else unpack(leaf_of(found))


class Shared(msgspec.Struct, eq=False, gc=False):
    """A packed file that has, or had, more than one name. `index` is for who goes through the tree."""

    leaf: bytes
    index: int = -1


class Linked(msgspec.Struct, eq=False, gc=False):
    """A name of a `Shared` file; `marked` with the layer that wrote it."""

    file: Shared
    marked: bytes


Child = Inode | bytes | Linked
"""What a name in a directory is of. Directories are inodes; all else that layers have put there is packed, which
takes a third of the memory, and as much for all numbers: a root may have 1,000,000 of them."""


class Leaf(msgspec.Struct, array_like=True, gc=False):
    """What is packed of a file: the fields of `treefile.Node` from its kind on, in that order.

    They stand there a second time: a class that is derived from this one would have its own fields last.
    """

    kind: str
    link: int = -1
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    content: Content | None = None
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


_MARK = 2  # bytes of the number of the layer, before what is packed
_HEAD = b"\x9b"  # msgpack's array of as many as a Leaf has
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Leaf).decode


def mark(layer: int) -> bytes:
    """The bytes for the number of a layer that a packed file begins with."""
    return (layer & 0xFFFF).to_bytes(_MARK, "big")


def pack_leaf(leaf: Leaf, marked: bytes) -> bytes:
    """The fields of a file, packed, as a name of the layer that is `marked`."""
    return marked + _encode(leaf)[len(_HEAD) :]


def pack(inode: Inode, marked: bytes = b"\0\0", *, default_mtime_ns: int = 0) -> bytes:
    """An inode without its children, as a name of the layer that is `marked`."""
    leaf = Leaf(
        inode.kind,
        -1,
        inode.mode,
        inode.uid,
        inode.gid,
        default_mtime_ns if inode.mtime_ns is None else inode.mtime_ns,
        inode.size,
        inode.content,
        inode.target,
        inode.device,
        tuple(sorted(inode.xattrs.items())) if inode.xattrs else (),
    )
    return pack_leaf(leaf, marked)


def unpack(leaf: bytes) -> Inode:
    """The inode of a packed file."""
    found = _decode(_HEAD + fields(leaf))
    return Inode(
        found.kind,
        found.mode,
        found.uid,
        found.gid,
        found.mtime_ns,
        found.size,
        found.content,
        found.target,
        found.device,
        dict(found.xattrs) or None,
    )


def fields(leaf: bytes) -> bytes:
    """The fields of a Leaf, in msgpack, without a head: as they stand in a tree file."""
    return leaf[_MARK:]


def kind_of(leaf: bytes) -> str:
    """The kind of a packed file."""
    return chr(leaf[_MARK + 1])


def mark_of(child: Child) -> bytes:
    """The mark of the layer which wrote a name."""
    return child[:_MARK] if isinstance(child, bytes) else child.marked


def leaf_of(child: bytes | Linked) -> bytes:
    """What is packed under a name."""
    return child if isinstance(child, bytes) else child.file.leaf


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
            below = [(prefix + name, inode.child(name)) for name in sorted(inode.children, reverse=True)]
            stack.extend((path, found) for path, found in below if found is not None)
