"""Which nodes of two tree files may differ, told from their bytes: most of both is never decoded.

That works where both have the same names at the same places, as most nights leave a root, and some layer is the same.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from c2wtasks.tree import treefile
from c2wtasks.tree.treefile import PackedNodes, TreeFile

_MOST_LAYERS = 128  # whose numbers take one byte in msgpack
_MOST_OTHERS = 8  # where more than one node of so many differs, it is as well to decode all
_LINK = rb"\xa1[bcdflp][^\xff]"
"""In msgpack, a node's kind, and what is not -1 behind it: of a further name of a file. A name may look so, too."""


class Alike(NamedTuple):
    """Two trees of the same names, and the numbers of the nodes that may differ."""

    old: TreeFile
    new: TreeFile
    others: list[int]


def alike(old: bytes, new: bytes) -> Alike | None:
    """The trees of two tree files, and what may differ in them; None where this cannot be told so.

    Raises ValueError: one of them is of another version, or damaged.
    """
    (was, old_starts, old_layers), (now, new_starts, new_layers) = map(treefile.packed, (old, new))
    replaced = [
        number for number, (one, other) in enumerate(zip(old_layers, new_layers, strict=False)) if one != other
    ]
    first = replaced[0] if replaced else min(len(old_layers), len(new_layers))
    end = max(len(old_layers), len(new_layers))
    if len(old_starts) != len(new_starts) or not first or end > _MOST_LAYERS:
        return None
    trees = TreeFile(old_layers, PackedNodes(was, old_starts)), TreeFile(new_layers, PackedNodes(now, new_starts))
    pieces = zip(_pieces(was, old_starts), _pieces(now, new_starts), strict=True)
    changed = [index for index, (one, other) in enumerate(pieces) if one != other]
    if len(changed) * _MOST_OTHERS > len(new_starts):
        return None
    for index in changed:
        one, other = trees[0].nodes[index], trees[1].nodes[index]
        if (one.parent, one.name) != (other.parent, other.name):
            return None
    layer = rb"\x93[" + re.escape(bytes([first])) + b"-" + re.escape(bytes([max(first, end - 1)])) + b"]"
    found = {*changed, *_numbers(now, new_starts, _LINK), *(_numbers(now, new_starts, layer) if first < end else ())}
    return Alike(*trees, sorted(found))


def _pieces(nodes: memoryview, starts: Sequence[int]) -> list[bytes]:
    content = bytes(nodes)
    return [content[start:end] for start, end in pairwise(starts)]


def _numbers(nodes: memoryview, starts: array[int], pattern: bytes) -> set[int]:
    """The numbers of the nodes in which there is such a place."""
    return {bisect_right(starts, found.start()) - 1 for found in re.finditer(pattern, nodes, re.DOTALL)}
