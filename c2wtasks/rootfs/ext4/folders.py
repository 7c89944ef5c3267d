"""The blocks of an ext4 directory: entries one after the other, in a hash tree where they take more than a block.

"ext4 Data Structures and Algorithms", "Linear (Classic) Directories" and "Hash Tree Directories". A tree is written
as the kernel would grow it: a block that lists the leaves, or the blocks that list them, by their lowest hash. To
who knows no trees these blocks look like unused entries.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from c2wtasks.rootfs.ext4.geometry import BLOCK
from c2wtasks.rootfs.ext4.hashing import HALF_MD4, name_hashes
from c2wtasks.rootfs.writing.linuxfs import in_order

DIRECTORY_TYPE = 2

_HEAD = Struct("<IHBB")  # inode, length, length of the name, type
_DOTS = Struct("<IHBB4s IHBB4s")
_ROOT_INFO = Struct("<IBBBB")  # 0, hash, length of this, levels of blocks that list blocks, flags
_COUNT = Struct("<HHI")  # most entries, entries, block of the first, whose hash is taken as 0
_LISTED = Struct("<II")  # hash, block
_BEFORE_ROOT = 24 + _ROOT_INFO.size
_IN_ROOT = (BLOCK - _BEFORE_ROOT) // _LISTED.size
_IN_NODE = (BLOCK - _HEAD.size) // _LISTED.size
_GOES_ON = 1

# By the length of the name: the whole entry, its name padded.
_ENTRIES = [Struct(f"<IHBB{(length + 3) & ~3}s") for length in range(256)]
SIZES = [entry.size for entry in _ENTRIES]


class Dirent(NamedTuple):
    """An entry of a directory: number of the inode, type of the file, name."""

    inode: int
    type: int
    name: bytes


class HashTree(NamedTuple):
    """How names are spread over leaves: `order` lists them by hash, leaf N ends before `ends[N]` of these, and its
    hashes begin with `hashes[N]`, odd where the leaf before has names of the same hash too."""

    order: array[int]
    ends: array[int]
    hashes: array[int]

    @property
    def nodes(self) -> int:
        """The blocks between root and leaves."""
        return -(-len(self.ends) // _IN_NODE) if len(self.ends) > _IN_ROOT else 0

    @property
    def blocks(self) -> int:
        """The blocks of the whole directory: root, nodes, leaves."""
        return 1 + self.nodes + len(self.ends)


MOST_IN_A_BLOCK = BLOCK // SIZES[1]


def is_linear(names: Iterable[bytes]) -> bool:
    """Whether one block holds the entries of these names."""
    return 2 * SIZES[1] + sum([SIZES[len(name)] for name in names]) <= BLOCK


def plan(names: Iterable[bytes], seed: bytes) -> HashTree:
    """How names are spread over the blocks of a directory. Raises ValueError: there are more than one can hold."""
    lengths = bytearray()

    def measured() -> Iterator[bytes]:
        for name in names:
            lengths.append(len(name))
            yield name

    hashes = name_hashes(measured(), seed)
    order = in_order(range(len(hashes)), hashes, 0xFFFF_FFFF)
    ends, starts = array("I"), array("I", [0])
    room = BLOCK
    for position, index in enumerate(order):
        size = SIZES[lengths[index]]
        if size > room:
            ends.append(position)
            starts.append(hashes[index] | (_GOES_ON if hashes[index] == hashes[order[position - 1]] else 0))
            room = BLOCK
        room -= size
    ends.append(len(order))
    if len(ends) > _IN_ROOT * _IN_NODE:
        raise ValueError(f"{len(order)} names are more than an ext4 directory can hold")
    return HashTree(order, ends, starts)


def linear(own: int, parent: int, entries: Iterable[Dirent]) -> bytes:
    """The one block of a directory with the inode number `own`."""
    return _packed([Dirent(own, DIRECTORY_TYPE, b"."), Dirent(parent, DIRECTORY_TYPE, b".."), *entries])


def tree(own: int, parent: int, entry: Callable[[int], Dirent], shape: HashTree) -> Iterator[bytes]:
    """The blocks one by one. `entry` gives number N of the names, in the order in which `shape` was made of them."""
    nodes = shape.nodes
    leaves = list(zip(shape.hashes, range(1 + nodes, shape.blocks), strict=True))
    lists = [leaves[at : at + _IN_NODE] for at in range(0, len(leaves), _IN_NODE)]
    top = [(part[0][0], 1 + number) for number, part in enumerate(lists)] if nodes else leaves
    dots = _DOTS.pack(own, 12, 1, DIRECTORY_TYPE, b".", parent, BLOCK - 12, 2, DIRECTORY_TYPE, b"..")
    info = _ROOT_INFO.pack(0, HALF_MD4, _ROOT_INFO.size, 1 if nodes else 0, 0)
    yield _listing(dots + info, top, _IN_ROOT)
    if nodes:
        for part in lists:
            yield _listing(_HEAD.pack(0, BLOCK, 0, 0), part, _IN_NODE)
    start = 0
    for end in shape.ends:
        yield _packed([entry(number) for number in shape.order[start:end]])
        start = end


def _listing(before: bytes, blocks: list[tuple[int, int]], most: int) -> bytes:
    head = before + _COUNT.pack(most, len(blocks), blocks[0][1])
    return (head + b"".join([_LISTED.pack(*listed) for listed in blocks[1:]])).ljust(BLOCK, b"\0")


def _packed(entries: list[Dirent]) -> bytes:
    """A block of entries, the last of which takes what is left."""
    last = entries.pop()
    parts = []
    for inode, kind, name in entries:
        length = len(name)
        entry = _ENTRIES[length]
        parts.append(entry.pack(inode, entry.size, length, kind, name))
    full = b"".join(parts)
    inode, kind, name = last
    rest = BLOCK - len(full)
    return full + _ENTRIES[len(name)].pack(inode, rest, len(name), kind, name).ljust(rest, b"\0")
