"""The folders of a root, and which of them are otherwise than in another root over some of the same layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from c2wtasks.tree.model import DIRECTORY, Child, Inode


class Folder(NamedTuple):
    """A directory of a root: its names, and which of them are directories."""

    inode: Inode
    names: dict[bytes, Child]
    below: Sequence[bytes]


def look(inode: Inode) -> Folder:
    """A directory, with what is in it."""
    names = inode.names()
    below = [name for name, child in names.items() if child.__class__ is Inode and child.kind == DIRECTORY]
    return Folder(inode, names, below)


class Known(msgspec.Struct, eq=False, gc=False):
    """What is kept of a directory: the last layer that may have changed its names, and the directories in it."""

    changed: int
    below: dict[bytes, Known]


class Changes(NamedTuple):
    """How the folders of a root differ from those of another: `folders` are otherwise, or may be, each after the one
    above it; `again` are those of them that the other has, too; `gone` are only there."""

    folders: dict[bytes, Folder]
    again: list[bytes]
    gone: list[bytes]


def changes(root: Inode, before: Known | None, shared: int) -> Changes:
    """How the folders of a root differ from those of one that has the lowest `shared` layers in common with it, and
    the folders `before`. With no such root, all are given.

    What neither has changed above those layers holds the same in both, where it is in both.
    """
    found = Changes({}, [], [])
    left = [(b"", root, before)]
    while left:
        path, inode, known = left.pop()
        names, prefix = inode.names(), path + b"/" if path else b""
        if known is not None and known.changed < shared and inode.changed < shared:
            for name, one in known.below.items():
                child: Inode = names[name]  # type: ignore[assignment]
                if one.below or one.changed >= shared or child.changed >= shared:  # most hold files alone
                    left.append((prefix + name, child, one))
            continue
        found.folders[path] = look(inode)
        below = found.folders[path].below
        if known is None:
            left += [(prefix + name, names[name], None) for name in below]  # type: ignore[misc]
            continue
        found.again.append(path)
        left += [(prefix + name, names[name], known.below.get(name)) for name in below]  # type: ignore[misc]
        for name in known.below.keys() - below:
            found.gone.extend(_paths(prefix + name, known.below[name]))
    return found


def _paths(path: bytes, known: Known) -> list[bytes]:
    """The path of a directory, and those of all below it."""
    found, left = [], [(path, known)]
    while left:
        path, known = left.pop()
        found.append(path)
        left += [(path + b"/" + name, one) for name, one in known.below.items()]
    return found


def known(folders: dict[bytes, Folder]) -> Known:
    """What is to be kept of all folders of a root, each after the one above it."""
    found = {path: Known(one.inode.changed, {}) for path, one in folders.items()}
    for path, one in found.items():
        above, _, name = path.rpartition(b"/")
        if path:
            found[above].below[name] = one
    return found[b""]
