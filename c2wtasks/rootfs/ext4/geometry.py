"""How an ext4 image is cut into groups, and the order in which its blocks are handed out.

The layout is the classic one, as the kernel's "ext4 Data Structures and Algorithms" describes it without flex_bg: a
group is [copy of the superblock, copy of the group descriptors,] block bitmap, inode bitmap, inode table, data.
Only group 0, 1 and the powers of 3, 5 and 7 have copies (sparse_super). All is counted in blocks of BLOCK bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = 4096
INODE = 256
DESCRIPTOR = 32
INODES_PER_BLOCK = BLOCK // INODE
PER_GROUP = 8 * BLOCK
"""The most blocks, and the most inodes, of a group: a bitmap is one block."""
MAX_BLOCKS = 2**32 - 1
MAX_SIZE = 2**32 * BLOCK
"""Of an image, in bytes: the last block of so many is not used."""

_BITMAPS = 2
_CUT = 4  # the most levels that an extent tree has below its root: 4 * 340^4 > 2^32
_SMALLEST_TAIL = 64
_BLOCKS_PER_SPARE_INODE = 4


class TooSmall(Exception):
    """The image takes at least `needed` bytes."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class TooLarge(Exception):
    """The image would take more than MAX_BLOCKS."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The last group may be shorter than `blocks_per_group`, but has all that a group must have."""

    blocks: int
    blocks_per_group: int
    inodes_per_group: int

    @property
    def groups(self) -> int:
        """How many block groups there are."""
        return -(-self.blocks // self.blocks_per_group)

    @property
    def inodes(self) -> int:
        """How many inodes there are in all groups."""
        return self.groups * self.inodes_per_group

    @property
    def descriptor_blocks(self) -> int:
        """The blocks that the descriptors of all groups take."""
        return -(-self.groups * DESCRIPTOR // BLOCK)

    @property
    def table_blocks(self) -> int:
        """The length of a group's inode table."""
        return self.inodes_per_group // INODES_PER_BLOCK

    def size(self, group: int) -> int:
        """The blocks of a group."""
        return min(self.blocks_per_group, self.blocks - group * self.blocks_per_group)

    def block_bitmap(self, group: int) -> int:
        """The block that the block bitmap of a group lies in; the inode bitmap and the inode table follow."""
        copy = 1 + self.descriptor_blocks if has_copy(group) else 0
        return group * self.blocks_per_group + copy

    def inode_table(self, group: int) -> int:
        """The first block of a group's inode table."""
        return self.block_bitmap(group) + _BITMAPS

    def data(self, group: int) -> int:
        """The first block that a group has for anything else."""
        return self.inode_table(group) + self.table_blocks

    def overhead(self, group: int) -> int:
        """The blocks of a group that its own records take, before `data`."""
        return self.data(group) - group * self.blocks_per_group

    @property
    def room(self) -> int:
        """The blocks of all groups for anything else."""
        copies = len(groups_with_copy(self.groups)) * (1 + self.descriptor_blocks)
        return self.blocks - copies - self.groups * (_BITMAPS + self.table_blocks)

    def holds(self, wanted: int) -> bool:
        """Whether files of `wanted` blocks fit wherever they are cut: at the start of each group one may be, which
        gives it an extent more, and its extent tree then a block more at each level, at most."""
        return self.room - _CUT * self.groups >= wanted


def fit(wanted: int, inodes: int, size: int | None) -> Geometry:
    """The geometry for contents of `wanted` blocks and so many inodes, in an image of `size` bytes.

    Without a size it is as small as may be with a rest for who writes into it: a twentieth and 1 MiB more blocks,
    a twentieth and 64 more inodes. With one, there is an inode for each 16 KiB that are left, as mke2fs has it.

    Raises TooSmall and TooLarge.
    """
    if size is None:
        return _smallest(wanted + wanted // 20 + (1 << 20) // BLOCK, inodes + inodes // 20 + 64)
    blocks = min(size // BLOCK, MAX_BLOCKS)
    smallest = _smallest(wanted, inodes)
    if blocks < smallest.blocks:
        raise TooSmall(smallest.blocks * BLOCK)
    larger = _of(blocks, inodes + (blocks - smallest.blocks) // _BLOCKS_PER_SPARE_INODE)
    return larger if larger.holds(wanted) else smallest


def _smallest(wanted: int, inodes: int) -> Geometry:
    blocks = wanted
    while True:
        geometry = _of(blocks, inodes)
        if geometry.holds(wanted):
            return geometry
        blocks += wanted + _CUT * geometry.groups - geometry.room
        if blocks > MAX_BLOCKS:
            raise TooLarge


def _of(blocks: int, inodes: int) -> Geometry:
    """With at most `blocks`: a last group with next to no room is left out, as mke2fs does.

    Groups are of the full size, unless there are so many inodes for so few blocks that this would be too few groups.
    """
    groups = -(-inodes // PER_GROUP)
    per_group = PER_GROUP
    if groups > max(1, blocks // PER_GROUP):
        per_group = max(8, blocks // groups // 8 * 8)
    geometry = Geometry(blocks, per_group, _inodes_per_group(inodes, -(-blocks // per_group)))
    last = geometry.groups - 1
    if last and geometry.size(last) < geometry.overhead(last) + _SMALLEST_TAIL:
        return Geometry(last * per_group, per_group, _inodes_per_group(inodes, last))
    return geometry


def _inodes_per_group(inodes: int, groups: int) -> int:
    """The inodes of each group, in whole blocks of the inode table."""
    return -(-inodes // groups // INODES_PER_BLOCK) * INODES_PER_BLOCK


def has_copy(group: int) -> bool:
    """Whether a group holds the superblock, or a copy, and the group descriptors."""
    if group <= 1:
        return True
    for base in (3, 5, 7):
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return False


def groups_with_copy(groups: int) -> list[int]:
    """The first `groups` as far as they hold the superblock, or a copy (see `has_copy`)."""
    found = set(range(min(groups, 2)))
    for base in (3, 5, 7):
        power = base
        while power < groups:
            found.add(power)
            power *= base
    return sorted(found)


class Space:
    """Hands out the blocks that hold data, in ascending order; all before `at` is taken."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.group = 0
        self.at = geometry.data(0)
        self.end = geometry.size(0)

    def take(self, count: int) -> list[tuple[int, int]]:
        """The (first block, length) of runs that together are `count` blocks long, each within a group."""
        at = self.at
        if at + count <= self.end:
            self.at = at + count
            return [(at, count)] if count else []
        return list(self._across(count))

    def _across(self, count: int) -> Iterator[tuple[int, int]]:
        while count:
            if self.at == self.end:
                self.group += 1
                assert self.group < self.geometry.groups, "more is written than was planned"
                self.at = self.geometry.data(self.group)
                self.end = self.group * self.geometry.blocks_per_group + self.geometry.size(self.group)
            length = min(count, self.end - self.at)
            yield self.at, length
            self.at += length
            count -= length

    def used(self, group: int) -> int:
        """How many blocks of a group are taken: the first ones."""
        in_turn = self.at - group * self.geometry.blocks_per_group
        return max(self.geometry.overhead(group), min(self.geometry.size(group), in_turn))
