"""Where everything lies in an EROFS image of a tree, found before anything is written.

The first block has the superblock. Inodes with all that lies behind them follow, then the blocks of directories, then
those of files. Numbers of inodes and of blocks count from the start of the image.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from c2wtasks.layers.fragments import stored, unpack
from c2wtasks.rootfs.erofs import chunks, dirents, xattrs
from c2wtasks.rootfs.erofs.chunks import Chunks
from c2wtasks.rootfs.erofs.records import BLOCK, CHUNKED, INLINE, INODE, MAX_BLOCKS, PLAIN, SLOT, SLOTS
from c2wtasks.rootfs.holding import MAX_HOLES
from c2wtasks.rootfs.writing.linuxfs import check_names, in_order, refusal
from c2wtasks.tree.children import Children
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

SMALL = 1 << 16
"""Of larger files the last block is whole: to save a part of it is not worth a write of its own."""
_SPARE = 1  # block behind all inodes: fsck.erofs 1.5 looks for xattrs even behind the last one that has none


class Slots:
    """Hands out slots, numbered from the start of the image. Those of up to a block lie in one block: the one that
    they leave least of."""

    def __init__(self) -> None:
        self.end = SLOTS
        self.free: list[list[int]] = [[] for _ in range(SLOTS)]  # by how many there are left at the end of a block
        self.lengths = 0  # a bit for each that is not empty

    def take(self, count: int) -> int:
        """The first of `count` slots in a row."""
        if fitting := self.lengths >> count:
            length = count + (fitting & -fitting).bit_length() - 1
            at = self.free[length].pop()
            if not self.free[length]:
                self.lengths ^= 1 << length
        else:
            at = self.end
            length = -(-count // SLOTS) * SLOTS
            self.end += length
        if left := length - count:
            self.free[left].append(at + count)
            self.lengths |= 1 << left
        return at


@dataclass(slots=True)
class Plan:
    """Names and inodes are known by their index in `nodes`; arrays have an item for each, even where it means
    nothing."""

    nodes: Sequence[Node]
    children: Children
    parts: dict[int, dirents.Parts] = field(default_factory=dict)
    """How the directories are cut into blocks."""
    chunks: dict[int, Chunks] = field(default_factory=dict)
    """Of the files that are laid out in chunks."""
    links: array[int] = field(default_factory=lambda: array("I"))
    """How many names the inode has."""
    inodes: array[int] = field(default_factory=lambda: array("Q"))
    """The inode that a name leads to: its first slot."""
    layouts: bytearray = field(default_factory=bytearray)
    starts: array[int] = field(default_factory=lambda: array("I"))
    """The first block of the content."""
    blocks: int = 0
    """How many blocks the whole image has."""

    def order(self) -> array[int]:
        """All that are inodes, in the order in which they lie in the image."""
        first_names = (index for index, node in enumerate(self.nodes) if node.link < 0)
        return in_order(first_names, self.inodes, max(self.inodes))

    def size(self, index: int) -> int:
        """The bytes of the inode's content."""
        node = self.nodes[index]
        if node.kind == DIRECTORY:
            return self.parts[index].size
        return len(node.target) if node.kind == SYMLINK else node.size


def plan(tree: TreeFile) -> Plan:
    """The plan of a tree's image. Raises OutputError, which names the file that EROFS cannot hold as it is."""
    nodes = tree.nodes
    check_names(nodes, "EROFS")
    made = Plan(nodes, Children(nodes))
    made.links = _links(nodes)
    slots = Slots()
    counts = array("I")
    for index, node in enumerate(nodes):
        if node.link >= 0:
            made.inodes.append(made.inodes[node.link])
            made.layouts.append(PLAIN)
            counts.append(0)
            continue
        try:
            layout, behind, count = _laid_out(made, index, node)
        except ValueError as error:
            raise refusal(nodes, index, str(error)) from None
        made.inodes.append(slots.take(-(-(INODE + behind) // SLOT)))
        made.layouts.append(layout)
        counts.append(count)
    _place(made, slots.end // SLOTS, counts)
    return made


def _links(nodes: Sequence[Node]) -> array[int]:
    links = array("I", bytes(array("I").itemsize * len(nodes)))
    for index, node in enumerate(nodes):
        if node.link >= 0:
            links[node.link] += 1
        elif node.kind != DIRECTORY:
            links[index] += 1
        else:
            links[index] += 2
            if index != ROOT:
                links[node.parent] += 1
    return links


def _laid_out(made: Plan, index: int, node: Node) -> tuple[int, int, int]:
    """The layout of an inode's content, how many bytes lie behind the inode, and how many blocks the rest takes.

    Raises ValueError: EROFS cannot hold it.
    """
    before = len(xattrs.pack(node.kind, node.xattrs)) if node.xattrs else 0
    if node.kind == FILE and node.size:
        return _file(made, index, node, before)
    if node.kind == DIRECTORY:
        parts = made.parts[index] = dirents.cut(made.nodes[child].name for child in made.children[index])
        return _with_tail(parts.size, before)
    if node.kind == SYMLINK:
        return _with_tail(len(node.target), before)
    return PLAIN, before, 0


def _file(made: Plan, index: int, node: Node, before: int) -> tuple[int, int, int]:
    assert node.content is not None
    sparse = node.content.sparse
    if sparse is not None and (cut := chunks.cut(node.size, unpack(sparse))) is not None:
        blocks = _allowed(node.size, cut.taken)
        holes = cut.taken * BLOCK - stored(sparse)  # chunks of a huge file are huge, and are written whole
        if holes > MAX_HOLES:
            raise ValueError(f"{holes} bytes of its holes would be written out ({MAX_HOLES} at most)")
        made.chunks[index] = cut
        return CHUNKED, before + cut.list_size, blocks
    if sparse is not None or node.size > SMALL:
        return PLAIN, before, _allowed(node.size, -(-node.size // BLOCK))
    return _with_tail(node.size, before)


def _with_tail(size: int, before: int) -> tuple[int, int, int]:
    """The last, partial block behind the inode, where both fit in a block with the `before` bytes between them."""
    whole, rest = divmod(size, BLOCK)
    if rest and INODE + before + rest <= BLOCK:
        return INLINE, before + rest, whole
    return PLAIN, before, whole + 1 if rest else whole


def _allowed(size: int, blocks: int) -> int:
    if blocks > MAX_BLOCKS:
        raise ValueError(f"{size} bytes are more than a file in EROFS can have")
    return blocks


def _place(made: Plan, first: int, counts: array[int]) -> None:
    """Gives out blocks, from `first` on, as many as each needs."""
    made.starts = array("I", bytes(array("I").itemsize * len(counts)))
    at = first
    for directories in (True, False):
        for index, count in enumerate(counts):
            if count and (index in made.parts) == directories:
                made.starts[index] = at
                at += count
                if at > MAX_BLOCKS:
                    wrong = f"up to here an image takes more than {MAX_BLOCKS * BLOCK} bytes"
                    raise refusal(made.nodes, index, wrong)
    made.blocks = max(at, first + _SPARE)
