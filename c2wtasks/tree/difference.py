"""What of one tree is found unchanged in another: the names whose files the new root may share with the old one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from c2wtasks.layers import fragments
from c2wtasks.tree.model import DIRECTORY, Content
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

_MOST_NAMES = 1000
"""A file of more names is not shared: old and new ones together may be more than a file system allows."""

SameContent = Callable[[Content, Content, int], bool]
"""Whether the bytes, so many, from the first place on (in the old tree's layers) are those from the second on (in the
new one's)."""


def kept(old: TreeFile, new: TreeFile, same_content: SameContent) -> list[bool]:
    """For each node of `new`: of a directory, whether `old` has one at that path; of another file's first name,
    whether it can be the file that `old` has at that path; False of all other names.

    A file can be shared that is equal in everything, its content included, and by no more than one file of `new`.
    """
    olds = _at_same_path(old, new)
    names = [Counter(node.link for node in tree.nodes) for tree in (old, new)]
    found = [False] * len(new.nodes)
    taken: set[int] = set()
    for index, (node, at) in enumerate(zip(new.nodes, olds, strict=True)):
        if at < 0 or node.link >= 0:
            continue
        before = old.nodes[at]
        if node.kind == DIRECTORY:
            found[index] = before.kind == DIRECTORY
            continue
        if before.link >= 0:
            at = before.link
            before = old.nodes[at]
        if at not in taken and names[0][at] + names[1][index] <= _MOST_NAMES and _equal(before, node, same_content):
            found[index] = True
            taken.add(at)
    return found


def _at_same_path(old: TreeFile, new: TreeFile) -> list[int]:
    """For each node of `new` the node of `old` at the same path, or -1."""
    places = {(node.parent, node.name): index for index, node in enumerate(old.nodes)}
    found: list[int] = []
    for index, node in enumerate(new.nodes):
        found.append(places.get((found[node.parent], node.name), -1) if index else ROOT)
    return found


def _equal(old: Node, new: Node, same_content: SameContent) -> bool:
    return (
        old.kind == new.kind
        and old.mtime_ns == new.mtime_ns
        and old.size == new.size
        and old.mode == new.mode
        and old.uid == new.uid
        and old.gid == new.gid
        and old.target == new.target
        and old.device == new.device
        and old.xattrs == new.xattrs
        and (old.content is new.content or _same(old, new, same_content))
    )


def _same(old: Node, new: Node, same_content: SameContent) -> bool:
    if old.content is None or new.content is None:
        return False
    return old.content.sparse == new.content.sparse and same_content(old.content, new.content, _stored(new))


def _stored(node: Node) -> int:
    """How many bytes of a file lie in its layer's tar."""
    assert node.content is not None
    sparse = node.content.sparse
    return node.size if sparse is None else fragments.stored(sparse)
