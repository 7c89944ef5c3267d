"""A small root that held another tree, and holds the new one as it is: a look tells, and no more is to be done."""

from __future__ import annotations

import os
from collections.abc import Sequence

from c2wtasks.rootfs.dir.attributes import shed_inherited
from c2wtasks.rootfs.dir.folders import SEARCH_AND_WRITE
from c2wtasks.rootfs.dir.previous import Spare
from c2wtasks.tree.difference import NONE
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK, TYPE_BITS
from c2wtasks.tree.treefile import ROOT, Node


def is_whole(nodes: Sequence[Node], root: int, spare: Spare) -> bool:
    """Whether all is to stay in the root with this descriptor, is as it was left, and is just what it is to be; then
    the root itself is finished. Where not, for whatever reason, it is for `Renewal` to see what is to be done.

    Raises OSError.
    """
    top = nodes[ROOT]
    if NONE in spare.was.kept or spare.fuller or top.mode & SEARCH_AND_WRITE != SEARCH_AND_WRITE:
        return False
    found = os.fstat(root)
    if spare.stamps.get(found.st_ino) != found.st_mtime_ns or (found.st_uid, found.st_gid) != (top.uid, top.gid):
        return False
    if not _are_as_left(nodes, root, spare):
        return False
    shed_inherited(root)
    os.fchmod(root, top.mode)
    os.utime(root, ns=(top.mtime_ns, top.mtime_ns))
    return is_plainly(top, os.fstat(root))


def _are_as_left(nodes: Sequence[Node], root: int, spare: Spare) -> bool:
    """Of the root's own names nothing tells, as it was given another one since, so they are listed."""
    ways = {ROOT: b""}
    names: set[bytes] = set()
    for index, node in enumerate(nodes):
        if node.xattrs or (node.kind == DIRECTORY and spare.xattrs(spare.was.kept[index])):
            return False
        if node.parent == ROOT and index != ROOT:
            names.add(node.name)
        if index == ROOT or node.link >= 0:  # its directory tells
            continue
        path = ways[node.parent] + node.name
        try:
            found = os.stat(path, dir_fd=root, follow_symlinks=False)
        except OSError:
            return False
        if not is_plainly(node, found):
            return False
        if node.kind == DIRECTORY:
            if spare.stamps.get(found.st_ino) != found.st_ctime_ns:
                return False
            ways[index] = path + b"/"
    return names == set(map(os.fsencode, os.listdir(root)))


def is_plainly(node: Node, found: os.stat_result) -> bool:
    """Whether a file or directory has just what it is wanted to have, but for content and xattrs."""
    return (
        found.st_mtime_ns == node.mtime_ns
        and found.st_mode == TYPE_BITS[node.kind] | (node.mode if node.kind != SYMLINK else 0o777)
        and found.st_uid == node.uid
        and found.st_gid == node.gid
        and (node.kind != FILE or found.st_size == node.size)
    )
