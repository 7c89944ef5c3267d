"""A file in a flat tree, for who looks up a few paths: nothing of the tree is made again."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

from c2wtasks.tree.children import Children
from c2wtasks.tree.treefile import ROOT, Node, TreeFile


class Names(Protocol):
    """The nodes of a flat tree, and a way to find a name among them."""

    @property
    def nodes(self) -> Sequence[Node]:
        """All nodes, as `TreeFile` has them."""

    def named(self, folder: int, name: bytes) -> int | None:
        """The index of what has a name in the directory number `folder`."""


class Recorded:
    """The file that the node `index` names, as `lookup` takes it."""

    def __init__(self, names: Names, index: int = ROOT) -> None:
        self._names = names
        link = names.nodes[index].link
        self._index = index if link < 0 else link

    @cached_property
    def node(self) -> Node:
        """The node of the file's first name."""
        return self._names.nodes[self._index]

    @property
    def kind(self) -> str:
        """The kind of the file."""
        return self.node.kind

    @property
    def target(self) -> bytes:
        """What a symlink leads to, empty for other files."""
        return self.node.target

    def child(self, name: bytes, /) -> Recorded | None:
        """What has a name in a directory."""
        index = self._names.named(self._index, name)
        return None if index is None else Recorded(self._names, index)


class _Decoded:
    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self._children = Children(nodes)

    def named(self, folder: int, name: bytes) -> int | None:
        """Found by bisection, as the names are in byte order."""
        nodes, children = self.nodes, self._children
        numbers = range(children.count(folder))
        found = bisect_left(numbers, name, key=lambda number: nodes[children.at(folder, number)].name)
        if found == len(numbers):
            return None
        index = children.at(folder, found)
        return index if nodes[index].name == name else None


def root_of(tree: TreeFile) -> Recorded:
    """The root of a flat tree."""
    return Recorded(_Decoded(tree.nodes))
