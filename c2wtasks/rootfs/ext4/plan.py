"""What an ext4 image of a tree consists of, before it is known how large it is: inode numbers, link counts, the
shapes of directories, xattrs, and how many blocks all of it takes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import overload

from c2wtasks.rootfs.ext4 import folders, inodes, xattrs
from c2wtasks.rootfs.ext4.extents import node_count
from c2wtasks.rootfs.ext4.geometry import BLOCK
from c2wtasks.rootfs.writing.linuxfs import Xattr, block_runs, check_names, refusal
from c2wtasks.rootfs.writing.pieces import fragments
from c2wtasks.tree.children import Children
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

LOST_AND_FOUND = b"lost+found"


@dataclass(slots=True)
class Plan:
    """Nodes and names are known by their index in `nodes`, inodes by their number."""

    nodes: Sequence[Node]
    numbers: array[int]
    """Of each name the number of its inode."""
    holders: array[int]
    """Of each inode from inodes.FIRST on its first name."""
    links: array[int]
    """Of each inode, from number 0 on, how many names it has."""
    children: Children
    trees: dict[int, folders.HashTree] = field(default_factory=dict)
    """Of the directories that take more than a block."""
    sharers: Counter[tuple[Xattr, ...]] = field(default_factory=Counter)
    """How many inodes need a block of these xattrs."""
    blocks: int = 0
    """All that directories, contents and xattrs take."""

    @property
    def inodes(self) -> int:
        """The highest number."""
        return len(self.links) - 1


def plan(tree: TreeFile, seed: bytes) -> Plan:
    """`seed` is for the hashes of names.

    Raises OutputError, which names the file in the tree: it has something that ext4 cannot hold.
    """
    nodes = _with_lost_and_found(tree.nodes)
    check_names(nodes, "ext4")
    made = _numbered(nodes, Children(nodes))
    for index in made.children:
        made.blocks += _directory(made, index, seed)
    for index in chain((ROOT,), made.holders):
        made.blocks += _inode(made, index)
    made.blocks += sum(-(-count // xattrs.MOST_SHARERS) for count in made.sharers.values())
    return made


def _with_lost_and_found(nodes: Sequence[Node]) -> Sequence[Node]:
    """e2fsck wants the directory to be there; it is as mke2fs makes it, only smaller."""
    if any(node.parent == ROOT and node.name == LOST_AND_FOUND for node in nodes):
        return nodes
    last = Node(ROOT, LOST_AND_FOUND, DIRECTORY, mode=0o700, mtime_ns=nodes[ROOT].mtime_ns)
    return [*nodes, last] if isinstance(nodes, list) else _WithOneMore(nodes, last)


class _WithOneMore(Sequence[Node]):
    """Nodes, which are too many for a list, and another one."""

    def __init__(self, nodes: Sequence[Node], last: Node) -> None:
        self._nodes, self._last = nodes, last

    def __len__(self) -> int:
        return len(self._nodes) + 1

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Node]: ...
    def __getitem__(self, index: int | slice) -> Node | Sequence[Node]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return self._last if index in (-1, len(self._nodes)) else self._nodes[index]

    def __iter__(self) -> Iterator[Node]:
        return chain(self._nodes, (self._last,))


def _numbered(nodes: Sequence[Node], children: Children) -> Plan:
    """Numbers follow the order of the nodes, as contents do, so that both lie near one another.

    Where a file has more names than an inode may have, a copy takes the next ones.
    """
    numbers = array("I", [inodes.ROOT])
    holders = array("I")
    links = array("I", bytes(array("I").itemsize * inodes.FIRST))
    links[inodes.ROOT] = 2
    current: dict[int, int] = {}  # a file that has too many names -> the inode of the next ones
    for index, node in enumerate(nodes):
        if not index:
            continue
        if node.link >= 0:
            number = current.get(node.link, numbers[node.link])
            if links[number] < inodes.MOST_NAMES:
                links[number] += 1
                numbers.append(number)
                continue
            current[node.link] = len(links)
        elif node.kind == DIRECTORY:
            links[numbers[node.parent]] += 1
        numbers.append(len(links))
        holders.append(index)
        links.append(2 if node.kind == DIRECTORY else 1)
    for index in children:
        if links[numbers[index]] > inodes.MOST_NAMES:
            links[numbers[index]] = 1  # dir_nlink: nobody knows how many
    return Plan(nodes, numbers, holders, links, children)


def _directory(made: Plan, index: int, seed: bytes) -> int:
    """How many blocks the names of a directory take."""
    children = made.children[index]
    few = len(children) <= folders.MOST_IN_A_BLOCK
    if few and folders.is_linear([made.nodes[child].name for child in children]):
        return 1
    try:
        shape = made.trees[index] = folders.plan((made.nodes[child].name for child in children), seed)
    except ValueError as error:
        raise refusal(made.nodes, index, str(error)) from None
    return shape.blocks


def _inode(made: Plan, holder: int) -> int:
    """How many blocks an inode takes, but for names and xattrs."""
    node = made.nodes[holder]
    if node.link >= 0:
        node = made.nodes[node.link]
    if node.xattrs:
        try:
            packed = xattrs.pack(node.kind, node.xattrs)
        except ValueError as error:
            raise refusal(made.nodes, holder, str(error)) from None
        if packed.block:
            made.sharers[packed.block] += 1
    if node.kind == FILE:
        if node.size > inodes.MAX_SIZE:
            raise refusal(made.nodes, holder, f"{node.size} bytes are more than a file in ext4 can have")
        runs = file_runs(node)
        return sum(length for _, length in runs) + node_count(len(runs))
    if node.kind == SYMLINK:
        return 1 if len(node.target) >= inodes.INLINE_TARGET else 0
    return 0


def file_runs(node: Node) -> list[tuple[int, int]]:
    """The (first block, length) of the parts of a file that are no holes."""
    return block_runs(fragments(node), BLOCK) if node.content is not None else []
