"""A file in a flat tree, for who looks up a few paths: nothing of the tree is made again."""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property

from c2wtasks.tree.children import Children
from c2wtasks.tree.treefile import ROOT, Node, TreeFile


class Recorded:
    """A file in `tree`, the root unless it is another: its `node` is that of the file's first name."""

    def __init__(self, tree: TreeFile, children: Children | None = None, index: int = ROOT) -> None:
        self._tree = tree
        self._children = children or Children(tree.nodes)
        link = tree.nodes[index].link
        self._index = index if link < 0 else link

    @cached_property
    def node(self) -> Node:
        """The node of the file's first name."""
        return self._tree.nodes[self._index]

    @property
    def kind(self) -> str:
        """The kind of the file."""
        return self.node.kind

    @property
    def target(self) -> bytes:
        """What a symlink leads to, empty for other files."""
        return self.node.target

    def child(self, name: bytes, /) -> Recorded | None:
        """What has a name in a directory, found by bisection: they are in byte order."""
        nodes, children = self._tree.nodes, self._children
        numbers = range(children.count(self._index))
        found = bisect_left(numbers, name, key=lambda number: nodes[children.at(self._index, number)].name)
        if found == len(numbers):
            return None
        index = children.at(self._index, found)
        return Recorded(self._tree, children, index) if nodes[index].name == name else None
