"""Folders of a tree by their paths, as the entries of layers name them."""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from c2wtasks.tree.model import Child, Inode


class Folder(NamedTuple):
    """A folder that something is put into, with its resolved path."""

    inode: Inode
    path: bytes
    names: dict[bytes, Child]

    def path_of(self, name: bytes) -> bytes:
        """The path of what has this name here."""
        return self.path + b"/" + name if self.path else name


def clean_path(name: bytes) -> bytes:
    """Go's `filepath.Clean` of an absolute path, without its first slash."""
    if b"/." in name or b"//" in name or name[:1] in (b"/", b"."):
        return posixpath.normpath(b"/" + name.lstrip(b"/"))[1:]
    return name[:-1] if name.endswith(b"/") else name  # as nearly all are


def directory_at(root: Inode, path: bytes) -> Inode | None:
    """The directory at a clean path that no link is part of; None where there is none."""
    here = root
    for part in path.split(b"/") if path else ():
        following = here.names().get(part)
        if not isinstance(following, Inode):
            return None
        here = following
    return here
