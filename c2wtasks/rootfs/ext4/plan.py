"""What an ext4 image of a tree consists of, before it is known how large it is: inode numbers, link counts, the
shapes of directories, xattrs, and how many blocks all of it takes."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

from c2wtasks.rootfs.ext4 import folders, inodes, xattrs
from c2wtasks.rootfs.ext4.extents import node_count
from c2wtasks.rootfs.ext4.geometry import BLOCK
from c2wtasks.rootfs.writing.linuxfs import Xattr, block_runs, check_names, children_of, refusal
from c2wtasks.rootfs.writing.pieces import fragments
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

LOST_AND_FOUND = b"lost+found"


@dataclass(slots=True)
class Plan:
    """Nodes and names are known by their index in `nodes`, inodes by their number."""

    nodes: list[Node]
    numbers: array[int]
    """Of each name the number of its inode."""
    holders: list[int]
    """Of each inode from inodes.FIRST on its first name."""
    links: array[int]
    """Of each inode, from number 0 on, how many names it has."""
    children: dict[int, list[int]]
    trees: dict[int, folders.Tree] = field(default_factory=dict)
    """Of the directories that take more than a block."""
    packed: dict[int, xattrs.Packed] = field(default_factory=dict)
    """Of the nodes that have xattrs."""
    sharers: Counter[tuple[Xattr, ...]] = field(default_factory=Counter)
    """How many inodes need a block of these xattrs."""
    blocks: int = 0
    """All that directories, contents and xattrs take."""

    @property
    def inodes(self) -> int:
        """The highest number."""
        return len(self.links) - 1

    def origin(self, index: int) -> int:
        """The node that says what a name is the name of."""
        link = self.nodes[index].link
        return index if link < 0 else link


def plan(tree: TreeFile, seed: bytes) -> Plan:
    """`seed` is for the hashes of names.

    Raises OutputError, which names the file in the tree: it has something that ext4 cannot hold.
    """
    nodes = _with_lost_and_found(tree.nodes)
    check_names(nodes, "ext4")
    made = _numbered(nodes, children_of(nodes))
    for index in made.children:
        made.blocks += _directory(made, index, seed)
    for index in (ROOT, *made.holders):
        made.blocks += _inode(made, made.origin(index), index)
    made.blocks += sum(-(-count // xattrs.MOST_SHARERS) for count in made.sharers.values())
    return made


def _with_lost_and_found(nodes: list[Node]) -> list[Node]:
    """e2fsck wants the directory to be there; it is as mke2fs makes it, only smaller."""
    if any(node.parent == ROOT and node.name == LOST_AND_FOUND for node in nodes):
        return nodes
    return [*nodes, Node(ROOT, LOST_AND_FOUND, DIRECTORY, mode=0o700, mtime_ns=nodes[ROOT].mtime_ns)]


def _numbered(nodes: list[Node], children: dict[int, list[int]]) -> Plan:
    """Numbers follow the order of the nodes, as contents do, so that both lie near one another.

    Where a file has more names than an inode may have, a copy takes the next ones.
    """
    numbers = array("I", [inodes.ROOT])
    holders: list[int] = []
    links = array("I", bytes(array("I").itemsize * inodes.FIRST))
    links[inodes.ROOT] = 2
    current: dict[int, int] = {}  # a file that has too many names -> the inode of the next ones
    for index in range(1, len(nodes)):
        node = nodes[index]
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
    """How many blocks its names take."""
    names = [made.nodes[child].name for child in made.children[index]]
    if folders.is_linear(names):
        return 1
    try:
        shape = made.trees[index] = folders.plan(names, seed)
    except ValueError as error:
        raise refusal(made.nodes, index, str(error)) from None
    return shape.blocks


def _inode(made: Plan, origin: int, holder: int) -> int:
    """How many blocks it takes, but for names and xattrs."""
    node = made.nodes[origin]
    if node.xattrs:
        if origin not in made.packed:
            try:
                made.packed[origin] = xattrs.pack(node.kind, node.xattrs)
            except ValueError as error:
                raise refusal(made.nodes, holder, str(error)) from None
        if block := made.packed[origin].block:
            made.sharers[block] += 1
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
