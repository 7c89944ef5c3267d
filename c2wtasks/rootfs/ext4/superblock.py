"""What describes an ext4 image as a whole: superblock, group descriptors, bitmaps, and the journal's own superblock.

"ext4 Data Structures and Algorithms": "Super Block", "Block Group Descriptors", "Block and Inode Bitmaps", "Journal
(jbd2)".
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, pack_into

from c2wtasks.rootfs.ext4.extents import ROOT_SIZE
from c2wtasks.rootfs.ext4.geometry import BLOCK, DESCRIPTOR, INODE, Geometry
from c2wtasks.rootfs.ext4.hashing import HALF_MD4
from c2wtasks.rootfs.ext4.inodes import EXTRA_SIZE, FIRST, JOURNAL, InodeBody
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

# The names and offsets of the fields, as the page has them. What is not named here, or not given, is 0.
_FIELDS = {
    "s_inodes_count": (0x00, "I"),
    "s_blocks_count_lo": (0x04, "I"),
    "s_free_blocks_count_lo": (0x0C, "I"),
    "s_free_inodes_count": (0x10, "I"),
    "s_log_block_size": (0x18, "I"),
    "s_log_cluster_size": (0x1C, "I"),
    "s_blocks_per_group": (0x20, "I"),
    "s_clusters_per_group": (0x24, "I"),
    "s_inodes_per_group": (0x28, "I"),
    "s_max_mnt_count": (0x36, "H"),
    "s_magic": (0x38, "H"),
    "s_state": (0x3A, "H"),
    "s_errors": (0x3C, "H"),
    "s_creator_os": (0x48, "I"),
    "s_rev_level": (0x4C, "I"),
    "s_first_ino": (0x54, "I"),
    "s_inode_size": (0x58, "H"),
    "s_block_group_nr": (0x5A, "H"),
    "s_feature_compat": (0x5C, "I"),
    "s_feature_incompat": (0x60, "I"),
    "s_feature_ro_compat": (0x64, "I"),
    "s_uuid": (0x68, "16s"),
    "s_journal_inum": (0xE0, "I"),
    "s_hash_seed": (0xEC, "16s"),
    "s_def_hash_version": (0xFC, "B"),
    "s_jnl_backup_type": (0xFD, "B"),
    "s_default_mount_opts": (0x100, "I"),
    "s_jnl_blocks": (0x10C, f"{ROOT_SIZE}sII"),  # of the journal's inode: extents, high and low half of its size
    "s_min_extra_isize": (0x15C, "H"),
    "s_want_extra_isize": (0x15E, "H"),
    "s_flags": (0x160, "I"),
}
_DESCRIPTOR = Struct(f"<IIIHHH{DESCRIPTOR - 18}x")  # bitmaps, inode table; free blocks and inodes, directories

_Value = int | bytes | tuple[bytes, int, int]

_JOURNAL_MAGIC = 0xC03B_3998
_JOURNAL_SUPERBLOCK = 4
_JOURNAL = Struct(">III IIIIIi 12x 16sI")  # header; sizes, first block and sequence, start, error; UUID, users


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one file system from another: its UUID and the seed of its hashes, 16 bytes each."""

    uuid: bytes
    hash_seed: bytes

    @classmethod
    def of(cls, key: bytes) -> Identity:
        """The identity that follows from `key`: another key gives another one."""
        return cls(*uuids(key))


@dataclass(frozen=True, slots=True)
class Group:
    """What is taken in a group: the first blocks and the first inodes."""

    blocks: int
    inodes: int
    directories: int


def superblock(
    geometry: Geometry, groups: list[Group], identity: Identity, journal: InodeBody | None, number: int = 0
) -> bytes:
    """The 1024 bytes of the one that lies in the group `number`. `journal` is what its inode leads to, of which it
    has a copy."""
    fields: dict[str, _Value] = {
        "s_inodes_count": geometry.inodes,
        "s_blocks_count_lo": geometry.blocks,
        "s_free_blocks_count_lo": geometry.blocks - sum(group.blocks for group in groups),
        "s_free_inodes_count": geometry.inodes - sum(group.inodes for group in groups),
        "s_log_block_size": _BLOCK_LOG,
        "s_log_cluster_size": _BLOCK_LOG,
        "s_blocks_per_group": geometry.blocks_per_group,
        "s_clusters_per_group": geometry.blocks_per_group,
        "s_inodes_per_group": geometry.inodes_per_group,
        "s_max_mnt_count": _NEVER,
        "s_magic": _MAGIC,
        "s_state": _CLEAN,
        "s_errors": _GO_ON,
        "s_creator_os": _LINUX,
        "s_rev_level": _DYNAMIC,
        "s_first_ino": FIRST,
        "s_inode_size": INODE,
        "s_block_group_nr": number,
        "s_feature_compat": _EXT_ATTR | _DIR_INDEX,
        "s_feature_incompat": _FILETYPE | _EXTENTS,
        "s_feature_ro_compat": _SPARSE_SUPER | _LARGE_FILE | _HUGE_FILE | _DIR_NLINK | _EXTRA_ISIZE,
        "s_uuid": identity.uuid,
        "s_hash_seed": identity.hash_seed,
        "s_def_hash_version": HALF_MD4,
        "s_default_mount_opts": _XATTRS_AND_ACLS,
        "s_min_extra_isize": EXTRA_SIZE,
        "s_want_extra_isize": EXTRA_SIZE,
        "s_flags": _UNSIGNED_HASH,
    }
    if journal is not None:
        fields |= {
            "s_feature_compat": _EXT_ATTR | _DIR_INDEX | _HAS_JOURNAL,
            "s_journal_inum": JOURNAL,
            "s_jnl_backup_type": _JOURNAL_IN_INODE,
            "s_jnl_blocks": (journal.root, journal.size >> 32, journal.size & 0xFFFF_FFFF),
        }
    packed = bytearray(_SIZE)
    for name, value in fields.items():
        offset, form = _FIELDS[name]
        pack_into(f"<{form}", packed, offset, *(value if isinstance(value, tuple) else (value,)))
    return bytes(packed)


def descriptors(geometry: Geometry, groups: list[Group]) -> bytes:
    """The group descriptors, one after another ("Block Group Descriptors")."""
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
    """The first block of an empty journal."""
    return _JOURNAL.pack(_JOURNAL_MAGIC, _JOURNAL_SUPERBLOCK, 0, BLOCK, blocks, 1, 1, 0, 0, identity.uuid, 1).ljust(
        BLOCK, b"\0"
    )


def journal_blocks(blocks: int) -> int:
    """How long the journal of an image of so many blocks is: about as mke2fs has it, never less than jbd2 takes."""
    for most, length in ((1 << 15, 1 << 10), (1 << 18, 1 << 12), (1 << 19, 1 << 13)):
        if blocks < most:
            return length
    return 1 << 14
