"""What a tree takes in memory and in the files that record it: a limit to what many layers make together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from c2wtasks.errors import TreeError
from c2wtasks.layers.entry import TarEntry
from c2wtasks.tree.lookup import NAME_MAX
from c2wtasks.tree.model import Inode, Linked

MAX_NAMES = 5 << 17
"""Names in a root, where a directory counts as PER_DIRECTORY of them: it takes as much memory."""
PER_DIRECTORY = 3
MAX_TEXT = 32 << 20
"""Bytes of the names in a root, of link targets, xattrs and fragments of sparse files."""

_BATCH = 1024
_HINT = "build the image with less in it"
_PER_XATTR = 100  # what one takes beside its text
_NUMBERS = 32  # bytes of a packed file that has no text, or a few more


class Weight(NamedTuple):
    """What a tree, or a part of it, weighs: how many names it has, and how many bytes of text go with them."""

    names: int
    text: int

    def plus(self, other: Weight) -> Weight:
        """The weight of both."""
        return Weight(self.names + other.names, self.text + other.text)

    @property
    def share(self) -> float:
        """The part of what a root may have, from 0 on; more than 1 is too much."""
        return max(self.names / MAX_NAMES, self.text / MAX_TEXT)


class Scales:
    """Watches over the weight of the tree below `root` while layers are applied to it.

    What is added is counted by what the entries say. The tree itself, which takes time, is weighed when that is half
    of what it may have, and at the end if need be: layers that replace what is there make it no heavier.
    """

    def __init__(self, root: Inode) -> None:
        self._root = root
        self._weighed = self._added = Weight(0, 0)

    def watch(self, entries: Iterable[TarEntry]) -> Iterator[TarEntry]:
        """The entries, as they are applied.

        Raises TreeError.
        """
        entries = iter(entries)
        while batch := list(islice(entries, _BATCH)):
            yield from batch
            self.add(_of_entries(batch))

    def add(self, weight: Weight) -> None:
        """Takes note of what was added.

        Raises TreeError.
        """
        self._added = self._added.plus(weight)
        if self._added.share > 0.5:
            self._weigh()

    def finish(self) -> None:
        """Weighs the tree once more, if it may be too heavy. Raises TreeError."""
        if self._weighed.plus(self._added).share > 1:
            self._weigh()

    def _weigh(self) -> None:
        self._weighed, self._added = _of_tree(self._root), Weight(0, 0)
        names, text = self._weighed
        if names > MAX_NAMES:
            what = f"names, each directory counted as {PER_DIRECTORY}"
            raise TreeError(f"the root has {names} {what} ({MAX_NAMES} at most)", hint=_HINT)
        if text > MAX_TEXT:
            what = "names, link targets, xattrs and maps of sparse files"
            raise TreeError(f"the root has {text} bytes of {what} ({MAX_TEXT} at most)", hint=_HINT)


def _of_entries(entries: list[TarEntry]) -> Weight:
    """What entries add to a tree at most. Of a path only the last name stays."""
    names = text = 0
    for entry in entries:
        names += PER_DIRECTORY if entry.kind == "5" else 1
        text += min(len(entry.name), NAME_MAX) + len(entry.target)
        if entry.xattrs is not None:
            text += _of_xattrs(entry.xattrs)
        if entry.sparse is not None:
            text += len(entry.sparse)
    return Weight(names, text)


def _of_tree(root: Inode) -> Weight:
    """What the tree below `root` weighs. The text of what is packed is what it has beyond a file that has nothing but
    its numbers."""
    names = text = 0
    folders = [root]
    while folders:
        children = folders.pop().names()
        names += len(children)
        text += sum(map(len, children))
        for child in children.values():
            if isinstance(child, bytes):
                text += max(0, len(child) - _NUMBERS)
            elif isinstance(child, Linked):
                text += max(0, len(child.file.leaf) - _NUMBERS)
            else:
                names += PER_DIRECTORY - 1
                folders.append(child)
                if child.xattrs:
                    text += _of_xattrs(child.xattrs)
    return Weight(names, text)


def _of_xattrs(xattrs: dict[bytes, bytes]) -> int:
    return sum(map(len, xattrs)) + sum(map(len, xattrs.values())) + _PER_XATTR * len(xattrs)
