"""The superblock and the inodes of an EROFS image, as bytes (the kernel's Documentation/filesystems/erofs.rst)."""

from __future__ import annotations

from struct import Struct

from c2wtasks.rootfs.writing.linuxfs import uuids
from c2wtasks.tree.model import TYPE_BITS
from c2wtasks.tree.treefile import Node

BLOCK_BITS = 12
BLOCK = 1 << BLOCK_BITS
SLOT = 32
"""Inodes lie at multiples of so many bytes; the number of an inode is that of its first slot."""
SLOTS = BLOCK // SLOT
"""Slots in a block."""
INODE = 64
MAX_BLOCKS = 2**32 - 1
"""The last number of all stands for a hole."""

PLAIN, INLINE, CHUNKED = 0, 2, 4
"""Where the content of an inode lies: in blocks one after the other; the last, partial one instead behind the inode;
in chunks that a list behind the inode tells."""

_EXTENDED = 1

# format, length of the xattrs, mode; size; what it leads to, number for 32-bit stat, uid, gid; mtime; names.
_INODE = Struct("<HHH2xQIIIIqII16x")
assert _INODE.size == INODE

_OFFSET = 1024
_MAGIC = 0xE0F5E1E2
_HAS_CHECKSUM, _HAS_MTIME = 1, 2
_HAS_CHUNKS = 4
# magic, checksum, features, bits of a block, more slots, root; inodes, created; blocks, start of metadata and of
# shared xattrs, UUID, volume name; features that a reader must know.
_SUPERBLOCK = Struct("<IIIBBHQqIIII16s16xI44x")
assert _SUPERBLOCK.size == 128
_CHECKSUM_OFFSET = _OFFSET + 4


def inode(node: Node, number: int, links: int, layout: int, size: int, leads_to: int, xattrs: int) -> bytes:
    """`leads_to` is the first block of the content, the shape of its chunks, or the numbers of a device; `xattrs` how
    many bytes they take. `number` is only for programs that know no 64-bit ones."""
    seconds, nanoseconds = divmod(node.mtime_ns, 10**9)
    return _INODE.pack(
        layout << 1 | _EXTENDED,
        (xattrs - 12) // 4 + 1 if xattrs else 0,
        TYPE_BITS[node.kind] | node.mode,
        size,
        leads_to,
        number & 0xFFFF_FFFF,
        node.uid,
        node.gid,
        seconds,
        nanoseconds,
        links,
    )


def first_block(*, root: int, inodes: int, blocks: int, chunked: bool, key: bytes, created_ns: int) -> bytes:
    """The block with the superblock, which has nothing else in it. The UUID follows from `key`."""
    seconds, nanoseconds = divmod(created_ns, 10**9)
    superblock = _SUPERBLOCK.pack(
        _MAGIC,
        0,
        _HAS_CHECKSUM | _HAS_MTIME,
        BLOCK_BITS,
        0,
        root,
        inodes,
        seconds,
        nanoseconds,
        blocks,
        0,
        0,
        uuids(key)[0],
        _HAS_CHUNKS if chunked else 0,
    )
    block = bytearray(_OFFSET) + superblock.ljust(BLOCK - _OFFSET, b"\0")
    block[_CHECKSUM_OFFSET : _CHECKSUM_OFFSET + 4] = _checksum(block[_OFFSET:]).to_bytes(4, "little")
    return bytes(block)


def _checksum(content: bytes | bytearray) -> int:
    """CRC32C as the kernel takes it: without the last inversion."""
    crc = 0xFFFF_FFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc
