"""The parts that a tree is written in: runs of nodes, about as much work each, which several writers can share."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from c2wtasks.tree.treefile import ROOT, Node

MOST = 64
"""A part's number fits into a byte, and all of them into a pipe."""
_CREATING = 1 << 15
"""In the time in which a file is made, so many bytes are written."""
_LEAST = 16 << 20
"""So many bytes take some ten milliseconds; to share less costs more than it saves."""

Part = tuple[int, int]
"""The number of its first node, and of the one after its last."""


def cut(nodes: Sequence[Node], kept: Sequence[int] | None = None) -> list[Part]:
    """The parts of a tree, in order. The content of files that are `kept` is not written.

    The nodes of a directory follow it, so of all the directories that a part meets only those on the way to its first
    node, and to the next part's, are not in it with all that they hold (see `crossed`).
    """
    weights = array("Q", (_CREATING + (0 if kept and kept[at] >= 0 else node.size) for at, node in enumerate(nodes)))
    share = max(_LEAST, sum(weights) // MOST + 1)
    starts, total = [1], 0
    for at in range(1, len(nodes)):
        if total >= share:
            starts.append(at)
            total = 0
        total += weights[at]
    return list(zip(starts, [*starts[1:], len(nodes)], strict=True))


def ancestors(nodes: Sequence[Node], index: int) -> list[int]:
    """The numbers of the directories on the way from the root, itself left out, to a node."""
    found = []
    while (index := nodes[index].parent) != ROOT:
        found.append(index)
    return found[::-1]


def crossed(nodes: Sequence[Node], parts: Sequence[Part]) -> set[int]:
    """The directories below the root that hold nodes of several parts, or lie in another part than what they hold."""
    return {folder for start, _ in parts[1:] for folder in ancestors(nodes, start)}
