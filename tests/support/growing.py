"""A tree in memory, made of a flat one: to change it by hand, or to compare."""

from __future__ import annotations

from c2wtasks.tree.model import DIRECTORY, Inode
from c2wtasks.tree.treefile import ROOT, TreeFile


def grow(tree: TreeFile) -> Inode:
    inodes: list[Inode] = []
    for node in tree.nodes:
        if node.link >= 0:
            inode = inodes[node.link]
        else:
            inode = Inode(
                node.kind,
                node.mode,
                node.uid,
                node.gid,
                node.mtime_ns,
                node.size,
                node.content,
                node.target,
                node.device,
                dict(node.xattrs) or None,
                {} if node.kind == DIRECTORY else None,
            )
        if inodes:
            inodes[node.parent].names()[node.name] = inode
        inodes.append(inode)
    return inodes[ROOT]
