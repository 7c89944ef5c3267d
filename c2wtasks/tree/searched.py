"""A tree file in which a few paths are looked up: the names on the way are searched for in its bytes, and nothing
else of it is decoded."""

from __future__ import annotations

from array import array
from bisect import bisect_left

import msgspec

from c2wtasks.tree import treefile
from c2wtasks.tree.recorded import Recorded
from c2wtasks.tree.treefile import NODE_HEAD, PackedNodes

_encode = msgspec.msgpack.Encoder().encode


class _Searched:
    def __init__(self, content: memoryview, starts: array[int]) -> None:
        self.nodes = PackedNodes(content, starts)
        self._content = bytes(content)
        self._starts = starts

    def named(self, folder: int, name: bytes) -> int | None:
        """The index of what has a name in the directory number `folder`; it stands behind that."""
        wanted = NODE_HEAD + _encode(folder) + _encode(name)
        at = self._starts[folder]
        while (at := self._content.find(wanted, at)) >= 0:
            index = bisect_left(self._starts, at)
            if self._starts[index] == at:
                return index
            at += 1  # it was part of something else
        return None


def root_of(content: bytes) -> tuple[Recorded, list[str]]:
    """The root of the tree that a tree file holds, and the diffIDs of the layers, the lowest first.

    Raises ValueError: it is of another version, or damaged.
    """
    nodes, starts, layers = treefile.packed(content)
    return Recorded(_Searched(nodes, starts)), layers
