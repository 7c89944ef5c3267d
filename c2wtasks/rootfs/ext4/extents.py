"""The extent tree of an ext4 file: which blocks of the image hold which blocks of the file.

A node is a header and entries in ascending order; the root is in the inode and takes 4 of them, any other is a block.
The lowest level lists extents, the others the nodes below. (Kernel documentation, "ext4 Data Structures and
Algorithms", "Extent Tree".)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from c2wtasks.rootfs.ext4.geometry import BLOCK

ROOT_SIZE = 60

_MAGIC = 0xF30A
_IN_ROOT = 4
_IN_BLOCK = (BLOCK - 12) // 12
_HEADER = Struct("<HHHHI")  # magic, entries, most entries, levels below, generation
_EXTENT = Struct("<IHHI")  # block of the file, length, first block in the image: high and low half
_INDEX = Struct("<IIHH")  # block of the file, block of the node: low and high half
_ONE = Struct("<HHHHI IHHI 36x")


class Extent(NamedTuple):
    """`length` blocks from `block` of the file on lie from `start` of the image on."""

    block: int
    length: int
    start: int


class ExtentTree(NamedTuple):
    """`root` for the inode, and the (block in the image, content) of the other nodes."""

    root: bytes
    nodes: list[tuple[int, bytes]]


EMPTY = ExtentTree(_HEADER.pack(_MAGIC, 0, _IN_ROOT, 0, 0).ljust(ROOT_SIZE, b"\0"), [])


def node_count(extents: int) -> int:
    """How many blocks the tree of so many extents takes."""
    count = 0
    while extents > _IN_ROOT:
        extents = -(-extents // _IN_BLOCK)
        count += extents
    return count


def tree(extents: list[Extent], take: Callable[[], int]) -> ExtentTree:
    """The tree of a file's extents. `take` gives a free block of the image."""
    if len(extents) == 1:  # nearly all files: for speed
        block, length, start = extents[0]
        return ExtentTree(_ONE.pack(_MAGIC, 1, _IN_ROOT, 0, 0, block, length, 0, start), [])
    nodes: list[tuple[int, bytes]] = []
    firsts = [extent.block for extent in extents]
    entries = [_EXTENT.pack(block, length, 0, start) for block, length, start in extents]
    depth = 0
    while len(entries) > _IN_ROOT:
        above: list[bytes] = []
        for at in range(0, len(entries), _IN_BLOCK):
            where = take()
            nodes.append((where, _node(entries[at : at + _IN_BLOCK], _IN_BLOCK, depth)))
            above.append(_INDEX.pack(firsts[at], where, 0, 0))
        firsts, entries = firsts[::_IN_BLOCK], above
        depth += 1
    return ExtentTree(_node(entries, _IN_ROOT, depth).ljust(ROOT_SIZE, b"\0"), nodes)


def _node(entries: list[bytes], most: int, depth: int) -> bytes:
    return _HEADER.pack(_MAGIC, len(entries), most, depth, 0) + b"".join(entries)


def placed(extents: list[Extent], fragments: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Where in the image the (offset, length) in bytes of a file lie, in the same order: (offset, length), more of
    them where a fragment lies in several extents."""
    following = iter(extents)
    block, length, start = next(following, (0, 0, 0))
    for at, size in fragments:
        while size:
            while at >= (block + length) * BLOCK:
                block, length, start = next(following)
            part = min(size, (block + length) * BLOCK - at)
            yield (start - block) * BLOCK + at, part
            at += part
            size -= part
