"""What describes an ext4 image as a whole: superblock, group descriptors, bitmaps, and the journal's own superblock.

"ext4 Data Structures and Algorithms": "Super Block", "Block Group Descriptors", "Block and Inode Bitmaps", "Journal
(jbd2)".
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from c2wtasks.rootfs.ext4.extents import ROOT_SIZE
from c2wtasks.rootfs.ext4.geometry import BLOCK, DESCRIPTOR, INODE, Geometry
from c2wtasks.rootfs.ext4.hashing import HALF_MD4
from c2wtasks.rootfs.ext4.inodes import EXTRA_SIZE, FIRST, JOURNAL, Body
from c2wtasks.rootfs.writing.linuxfs import uuids

OFFSET = 1024
"""Where the first superblock lies in its block; a copy lies at the start."""

_SIZE = 1024
_BLOCK_LOG = 2  # BLOCK is 1024 << 2
_MAGIC = 0xEF53
_CLEAN = 1
_GO_ON = 1
_LINUX = 0
_DYNAMIC = 1
_NEVER = 0xFFFF
_HAS_JOURNAL, _EXT_ATTR, _DIR_INDEX = 0x4, 0x8, 0x20
_FILETYPE, _EXTENTS = 0x2, 0x40
_SPARSE_SUPER, _LARGE_FILE, _HUGE_FILE, _DIR_NLINK, _EXTRA_ISIZE = 0x1, 0x2, 0x8, 0x20, 0x40
_XATTRS_AND_ACLS = 0xC
_UNSIGNED_HASH = 2
_JOURNAL_IN_INODE = 1

_FIELDS = Struct(
    "<IIIIIIIIIIIII"  # inodes, blocks, reserved, free blocks, free inodes, first, sizes of block, cluster, groups
    "HHHHHHIIII"  # mounts, most of them, magic, state, errors, minor revision, checked, how often, system, revision
    "HHIHHIII"  # default owners, first inode, inode size, this group, features: compatible, incompatible, read-only
    "16s88x"  # UUID; label and last mount point are empty, nothing is preallocated
    "16sII"  # journal: UUID, inode, device
    "4x16sBBH"  # hash seed, default hash, kind of the journal's copy, descriptor size
    "II4x"  # default mount options, first meta group
    f"{ROOT_SIZE}sII"  # copy of the journal's inode: extents, high and low half of its size
    "12xHHI"  # sizes of extra fields, flags
)
_DESCRIPTOR = Struct(f"<IIIHHH{DESCRIPTOR - 18}x")  # bitmaps, inode table; free blocks and inodes, directories

_JOURNAL_MAGIC = 0xC03B_3998
_JOURNAL_SUPERBLOCK = 4
_JOURNAL = Struct(">III IIIIIi 12x 16sI")  # header; sizes, first block and sequence, start, error; UUID, users


@dataclass(frozen=True, slots=True)
class Identity:
    uuid: bytes
    hash_seed: bytes

    @classmethod
    def of(cls, key: bytes) -> Identity:
        """The same for the same key, different for another."""
        return cls(*uuids(key))


@dataclass(frozen=True, slots=True)
class Group:
    """What is taken in a group: the first blocks and the first inodes."""

    blocks: int
    inodes: int
    directories: int


def superblock(
    geometry: Geometry, groups: list[Group], identity: Identity, journal: Body | None, number: int = 0
) -> bytes:
    """The one that lies in the group `number`. `journal` is what its inode leads to, of which it has a copy."""
    return _FIELDS.pack(
        geometry.inodes,
        geometry.blocks,
        0,
        geometry.blocks - sum(group.blocks for group in groups),
        geometry.inodes - sum(group.inodes for group in groups),
        0,
        _BLOCK_LOG,
        _BLOCK_LOG,
        geometry.blocks_per_group,
        geometry.blocks_per_group,
        geometry.inodes_per_group,
        0,
        0,
        0,
        _NEVER,
        _MAGIC,
        _CLEAN,
        _GO_ON,
        0,
        0,
        0,
        _LINUX,
        _DYNAMIC,
        0,
        0,
        FIRST,
        INODE,
        number,
        _EXT_ATTR | _DIR_INDEX | (_HAS_JOURNAL if journal else 0),
        _FILETYPE | _EXTENTS,
        _SPARSE_SUPER | _LARGE_FILE | _HUGE_FILE | _DIR_NLINK | _EXTRA_ISIZE,
        identity.uuid,
        b"",
        JOURNAL if journal else 0,
        0,
        identity.hash_seed,
        HALF_MD4,
        _JOURNAL_IN_INODE if journal else 0,
        0,
        _XATTRS_AND_ACLS,
        0,
        journal.root if journal else b"",
        journal.size >> 32 if journal else 0,
        journal.size & 0xFFFF_FFFF if journal else 0,
        EXTRA_SIZE,
        EXTRA_SIZE,
        _UNSIGNED_HASH,
    ).ljust(_SIZE, b"\0")


def descriptors(geometry: Geometry, groups: list[Group]) -> bytes:
    return b"".join(
        _DESCRIPTOR.pack(
            geometry.block_bitmap(number),
            geometry.block_bitmap(number) + 1,
            geometry.inode_table(number),
            geometry.size(number) - group.blocks,
            geometry.inodes_per_group - group.inodes,
            group.directories,
        )
        for number, group in enumerate(groups)
    )


def bitmaps(geometry: Geometry, number: int, group: Group) -> bytes:
    """The two blocks of a group; what it does not have counts as taken."""
    return _bitmap(group.blocks, geometry.size(number)) + _bitmap(group.inodes, geometry.inodes_per_group)


def _bitmap(taken: int, size: int) -> bytes:
    everything = (1 << 8 * BLOCK) - 1
    return ((1 << taken) - 1 | everything ^ ((1 << size) - 1)).to_bytes(BLOCK, "little")


def journal_superblock(blocks: int, identity: Identity) -> bytes:
    """Of an empty journal."""
    return _JOURNAL.pack(_JOURNAL_MAGIC, _JOURNAL_SUPERBLOCK, 0, BLOCK, blocks, 1, 1, 0, 0, identity.uuid, 1).ljust(
        BLOCK, b"\0"
    )


def journal_blocks(blocks: int) -> int:
    """How long the journal of an image of so many blocks is: about as mke2fs has it, never less than jbd2 takes."""
    for most, length in ((1 << 15, 1 << 10), (1 << 18, 1 << 12), (1 << 19, 1 << 13)):
        if blocks < most:
            return length
    return 1 << 14
