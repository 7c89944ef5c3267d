"""The file that an entry of a layer makes in a tree: kind and content, before owner, mode and xattrs are set."""

from __future__ import annotations

import stat
from errno import EINVAL, ENAMETOOLONG, ENOENT

from c2wtasks.layers.entry import UNCHANGED_ID, TarEntry
from c2wtasks.tree import model
from c2wtasks.tree.lookup import PATH_MAX
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK, Content, Inode, Leaf

_DEVICES = {"3": model.CHARACTER, "4": model.BLOCK, "6": model.FIFO}


def new_inode(entry: TarEntry, gid: int, layer: int) -> Inode:
    """The inode that an entry of the layer number `layer` makes, with the group `gid`.

    Raises OSError: a symlink's target is empty or too long, or the entry is of a type that is refused.
    """
    match entry.kind:
        case "0":
            content = Content(layer, entry.offset, entry.sparse)
            return Inode(FILE, gid=gid, size=entry.size, content=content)
        case "5":
            return Inode(DIRECTORY, gid=gid, children={})
        case "2":
            if not entry.target:
                raise OSError(ENOENT, "a symlink without a target")
            if len(entry.target) > PATH_MAX:
                raise OSError(ENAMETOOLONG, f"a symlink's target of {len(entry.target)} bytes")
            return Inode(SYMLINK, 0o777, gid=gid, target=entry.target)
        case "3" | "4":
            return Inode(_DEVICES[entry.kind], gid=gid, device=(entry.major, entry.minor))
        case "6":
            return Inode(model.FIFO, gid=gid)
    flag = entry.kind.encode("latin-1")[0]
    what = "an old-GNU sparse file" if entry.kind == "S" else f"of type {flag:#04x}"
    raise OSError(EINVAL, f"{what}, which container runtimes refuse")


def plain_file(entry: TarEntry, parent: Inode, layer: int, mark: bytes) -> bytes:
    """The file without xattrs that an entry makes in `parent`, a directory without xattrs: what `apply` makes in
    several steps of others, packed."""
    uid, gid = entry.uid, entry.gid
    leaf = Leaf(
        FILE,
        -1,
        entry.mode,
        0 if uid == UNCHANGED_ID else uid,
        inherited_gid(parent) if gid == UNCHANGED_ID else gid,
        entry.mtime_ns,
        entry.size,
        Content(layer, entry.offset, entry.sparse),
    )
    return model.pack_leaf(leaf, mark)


def inherited_gid(parent: Inode) -> int:
    """The group of what is made in `parent`, before any owner is set: of root, or of a set-group-id directory."""
    return parent.gid if parent.mode & stat.S_ISGID else 0
