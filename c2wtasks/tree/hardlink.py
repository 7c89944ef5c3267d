"""Finds the file that a hard link of a layer names."""

from __future__ import annotations

import posixpath
from errno import ENOENT, EPERM

from c2wtasks.tree import model
from c2wtasks.tree.folder import clean_path, directory_at
from c2wtasks.tree.lookup import PATH_MAX, Steps, holder, root_path
from c2wtasks.tree.model import Inode, Linked, Shared
from c2wtasks.tree.refusal import shown


def link_target(root: Inode, target: bytes, steps: Steps) -> Shared:
    """The file that a hard link names (`hardlinkRootPath`): links in its parents are followed, itself not.

    Raises OSError, which names it.
    """
    place = _straight(root, target)
    if place is None:
        place = _resolved(root, target, steps)
    directory, name = place
    found = directory.names()[name]
    if isinstance(found, Inode):
        raise OSError(EPERM, f"its hard link target {shown(target)} is a directory")
    if isinstance(found, Linked):
        return found.file
    file = Shared(found)
    directory.names()[name] = Linked(file, model.mark_of(found))
    return file


def _straight(root: Inode, target: bytes) -> tuple[Inode, bytes] | None:
    """The directory and the name in it where a clean path leads that no link is part of, as of nearly all; else
    None."""
    parent, _, base = target.rpartition(b"/")
    if clean_path(target) != target or len(target) > PATH_MAX:
        return None
    directory = directory_at(root, parent)
    return (directory, base) if directory is not None and base in directory.names() else None


def _resolved(root: Inode, target: bytes, steps: Steps) -> tuple[Inode, bytes]:
    """The directory and the name in it where a hard link's target is found."""
    parent, _, base = target.rpartition(b"/")
    try:
        resolved = root_path(root, parent + b"/" if parent or target.startswith(b"/") else b"", steps=steps)
        path = posixpath.normpath(b"/" + resolved + b"/" + base)
        place = holder(root, path, steps=steps)
    except OSError as error:
        raise OSError(error.errno, f"its hard link target {shown(target)}: {error.strerror}") from error
    if not path.strip(b"/"):
        raise OSError(EPERM, f"its hard link target {shown(target)} is a directory")
    if place is None:
        raise OSError(ENOENT, f"its hard link target {shown(target)} does not exist")
    return place
