"""Which names are in which directory of a flat tree."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from c2wtasks.tree.model import DIRECTORY
from c2wtasks.tree.treefile import Node


class Children:
    """Maps the index of a directory's node to the indexes of the names in it, and iterates over the directories; both
    in the order of the nodes. It takes 8 bytes a node, where lists take 40."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._folders = array("I")
        parents = array("I")
        ends = array("I", bytes(4 * (len(nodes) + 1)))  # of those in a directory, counted first
        for index, node in enumerate(nodes):
            parents.append(node.parent)
            if node.kind == DIRECTORY:
                self._folders.append(index)
            if index:
                ends[node.parent] += 1
        total = 0
        for folder in self._folders:
            total, ends[folder] = total + ends[folder], total
        self._children = array("I", bytes(4 * total))
        for index in range(1, len(parents)):
            parent = parents[index]
            self._children[ends[parent]] = index
            ends[parent] += 1
        self._ends = ends
        self._starts = array("I", bytes(4 * (len(nodes) + 1)))
        before = 0
        for folder in self._folders:
            self._starts[folder], before = before, ends[folder]

    def __getitem__(self, folder: int) -> array[int]:
        return self._children[self._starts[folder] : self._ends[folder]]

    def __iter__(self) -> Iterator[int]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)

    def count(self, folder: int) -> int:
        """How many names a directory has."""
        return self._ends[folder] - self._starts[folder]

    def at(self, folder: int, number: int) -> int:
        """The index of the name number `number` in a directory."""
        return self._children[self._starts[folder] + number]
