"""The 256 bytes of an ext4 inode ("ext4 Data Structures and Algorithms", "Index Nodes")."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from c2wtasks.rootfs.ext4.extents import EMPTY, ROOT_SIZE
from c2wtasks.rootfs.ext4.geometry import BLOCK, INODE
from c2wtasks.rootfs.ext4.xattrs import IN_INODE
from c2wtasks.rootfs.writing.linuxfs import device_number
from c2wtasks.tree.model import TYPE_BITS
from c2wtasks.tree.treefile import Node

ROOT = 2
JOURNAL = 8
FIRST = 11
"""The first one that is nobody's in particular."""
MOST_NAMES = 65_000
MAX_SIZE = (2**32 - 1) * BLOCK
INLINE_TARGET = ROOT_SIZE
"""A symlink's target that is shorter is in the inode."""
EXTRA_SIZE = 32

EXTENTS = 0x8_0000
HASH_TREE = 0x1000

_SECTORS = BLOCK // 512
_FIRST_SECOND = -(2**31)
_LAST_SECOND = 2**34 - 2**31 - 1

# mode, uid, size, atime, ctime, mtime, gid, links, sectors, flags, block; xattrs' block, high half of the size;
# high parts of sectors, uid, gid; length of the extra fields: ctime, mtime, atime; crtime and its extra; xattrs.
_INODE = Struct(f"<HHIIII4xHHII4x{ROOT_SIZE}s4xII4xHHHH4xH2xIIIII8x{IN_INODE}s")
assert _INODE.size == INODE
_DEVICE = Struct(f"<II{ROOT_SIZE - 8}x")


class InodeBody(NamedTuple):
    """What an inode leads to. `blocks` are all it takes, `root` is its extent tree's, or what else lies there."""

    root: bytes
    size: int = 0
    blocks: int = 0
    flags: int = 0


EMPTY_FILE = InodeBody(EMPTY.root, flags=EXTENTS)


def device(numbers: tuple[int, int]) -> bytes:
    """The numbers of a device: in the old form, 8 bits each, if they fit, as Linux does."""
    major, minor = numbers
    if major < 256 and minor < 256:
        return _DEVICE.pack(major << 8 | minor, 0)
    return _DEVICE.pack(0, device_number(numbers))


def time(ns: int) -> tuple[int, int]:
    """The field of a time and its extra field: nanoseconds, and two bits more of the seconds. 1901 to 2446 ("Inode
    Timestamps")."""
    seconds, rest = divmod(ns, 10**9)
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        seconds, rest = (_FIRST_SECOND if seconds < 0 else _LAST_SECOND), 0
    return seconds & 0xFFFF_FFFF, rest << 2 | (seconds - _FIRST_SECOND) >> 32


def record(node: Node, links: int, body: InodeBody, inline: bytes = b"", xattr_block: int = 0) -> bytes:
    """An inode as it stands in the inode table ("Index Nodes"). `inline` are the xattrs in the inode, `xattr_block`
    is the block of those that have no place there, 0 if there is none."""
    seconds, extra = time(node.mtime_ns)
    sectors = (body.blocks + 1 if xattr_block else body.blocks) * _SECTORS
    uid, gid = node.uid, node.gid
    return _INODE.pack(
        TYPE_BITS[node.kind] | node.mode,
        uid & 0xFFFF,
        body.size & 0xFFFF_FFFF,
        seconds,
        seconds,
        seconds,
        gid & 0xFFFF,
        links,
        sectors & 0xFFFF_FFFF,
        body.flags,
        body.root,
        xattr_block,
        body.size >> 32,
        sectors >> 32,
        0,
        uid >> 16,
        gid >> 16,
        EXTRA_SIZE,
        extra,
        extra,
        extra,
        seconds,
        extra,
        inline,
    )
