"""What of one tree is found unchanged in another: the names whose files the new root may share with the old one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set
from itertools import takewhile
from typing import NamedTuple

import msgspec

from c2wtasks.layers import fragments
from c2wtasks.tree.model import DIRECTORY, Content
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

_MOST_NAMES = 1000
"""A file of more names is not shared: old and new ones together may be more than a file system allows."""

SameContent = Callable[[Content, Content, int], bool]
"""Whether the bytes, so many, from the first place on (in the old tree's layers) are those from the second on (in the
new one's)."""


NONE = -1
Xattrs = tuple[tuple[bytes, bytes], ...]


class Compared(NamedTuple):
    """What `new` has of `old`. For each of its nodes `kept` has: of a directory, the one that `old` has at that path;
    of another file's first name, the file that `old` has at that path, if it can be that one; of a further name, the
    name that `old` has there, if it is one of the file that is kept; else NONE. `fuller` are the directories in which
    `old` has names that `new` has not. `olds` has for each node what `old` has at that path, if anything."""

    kept: list[int]
    fuller: set[int]
    olds: list[int]


def compare(old: TreeFile, new: TreeFile, same_content: SameContent) -> Compared:
    """Holds one tree against another.

    A file can be kept that is equal in everything, its content included, and by no more than one file of `new`.
    """
    if old is new and all(node.link < 0 for node in new.nodes):
        everything = list(range(len(new.nodes)))
        return Compared(everything, set(), everything)
    olds, fuller = _at_same_path(old, new)
    names = [Counter(node.link for node in tree.nodes if node.link >= 0) for tree in (old, new)]
    same_layers = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(old.layers, new.layers, strict=False))))
    found = [NONE] * len(new.nodes)
    taken: set[int] = set()
    for index, (node, at) in enumerate(zip(new.nodes, olds, strict=True)):
        if at < 0:
            continue
        before = old.nodes[at]
        if node.link >= 0:
            if before.link >= 0 and before.link == found[node.link]:
                found[index] = at
            continue
        if node.kind == DIRECTORY:
            if before.kind == DIRECTORY:
                found[index] = at
            continue
        if before.link >= 0:
            at = before.link
            before = old.nodes[at]
        if at in taken or names[0][at] + names[1][index] > _MOST_NAMES:
            continue
        is_the_same = before == node and (node.content is None or node.content.layer < same_layers)
        if is_the_same or _equal(before, node, same_content):
            found[index] = at
            taken.add(at)
    return Compared(found, fuller, olds)


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """What a tree has otherwise than the one `before` it, by the numbers of its nodes: `others` are names of which
    that has not the very file, or the directory, at the same path; `xattrs` those which directories have there, where
    they are others; `fuller` as in `Compared`."""

    before: str
    tree: str
    others: list[int]
    xattrs: dict[int, Xattrs]
    fuller: list[int]


def delta(old: TreeFile, new: TreeFile, names: tuple[str, str], compared: Compared, missed: Set[int]) -> Delta:
    """What `new` has otherwise than `old`, but for files that were to be kept and are `missed`. `names` are the
    fingerprints of the trees."""
    others, xattrs = [], {}
    for index, (node, at) in enumerate(zip(new.nodes, compared.kept, strict=True)):
        if at == NONE or index in missed or node.link in missed:
            others.append(index)
        elif node.kind == DIRECTORY and (had := old.nodes[at].xattrs) != node.xattrs:
            xattrs[index] = had
    return Delta(*names, others, xattrs, sorted(compared.fuller))


def with_before(delta: Delta, old: TreeFile, new: TreeFile, compared: Compared) -> Compared:
    """What `compare` would say, had `new` not been held against `old` but against the tree before that, to which
    `old` has this delta; but by the numbers of `old`."""
    others, fuller = set(delta.others), set(delta.fuller)
    kept = list(compared.kept)
    for index, (node, at) in enumerate(zip(new.nodes, compared.kept, strict=True)):
        if at <= ROOT:
            continue
        before = old.nodes[at]
        is_elsewhere = before.name != node.name or before.parent != compared.kept[node.parent]
        if at in others or is_elsewhere or (node.link >= 0 and kept[node.link] == NONE):
            kept[index] = NONE
    also = {index for index, at in enumerate(compared.kept) if at in fuller and new.nodes[index].kind == DIRECTORY}
    return Compared(kept, compared.fuller | also, compared.olds)


def _at_same_path(old: TreeFile, new: TreeFile) -> tuple[list[int], set[int]]:
    """For each node of `new` the node of `old` at the same path, or NONE; and the directories of `new` in which `old`
    has more names. Both trees are gone through in step: their nodes are in the order of their paths."""
    found, of_old = [ROOT], [NONE] * len(old.nodes)
    of_old[ROOT] = ROOT
    fuller: set[int] = set()
    olds = enumerate(old.nodes)
    next(olds)
    nothing = len(old.nodes), Node(NONE, b"", "")
    at, before = next(olds, nothing)
    for index, node in enumerate(new.nodes):
        if index == ROOT:
            continue
        folder = found[node.parent]
        if folder == NONE:
            found.append(NONE)
            continue
        while before.parent > folder or (before.parent == folder and before.name < node.name):
            fuller.add(of_old[before.parent])
            at, before = next(olds, nothing)
        if before.parent == folder and before.name == node.name:
            found.append(at)
            of_old[at] = index
            at, before = next(olds, nothing)
        else:
            found.append(NONE)
    while at < len(old.nodes):
        fuller.add(of_old[before.parent])
        at, before = next(olds, nothing)
    return found, {index for index in fuller if index != NONE and new.nodes[index].kind == DIRECTORY}


def look_the_same(old: Node, new: Node) -> bool:
    """Whether two nodes are the same but for times and contents, and for what they are called."""
    return (
        old.kind == new.kind
        and old.size == new.size
        and old.mode == new.mode
        and old.uid == new.uid
        and old.gid == new.gid
        and old.target == new.target
        and old.device == new.device
        and old.xattrs == new.xattrs
    )


def _equal(old: Node, new: Node, same_content: SameContent) -> bool:
    return (
        old.mtime_ns == new.mtime_ns
        and look_the_same(old, new)
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
