"""Extended attributes as ext4 keeps them: as many as fit in what an inode has behind its fields, the others in one
block, which inodes with the same ones share.

"ext4 Data Structures and Algorithms", "Extended Attributes": entries grow from the start, values from the end; where
a value lies counts from the first entry in an inode, and from the start of a block. POSIX ACLs have a form of their
own on disk, shorter than the one of the system call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from c2wtasks.rootfs.ext4.geometry import BLOCK
from c2wtasks.rootfs.writing.linuxfs import ACCESS_ACL, DEFAULT_ACL, Xattr, linux_xattrs
from c2wtasks.tree import acl

IN_INODE = 96
"""The bytes of an inode behind its fields."""
MOST_SHARERS = 1024
"""The kernel lets no more inodes share a block."""

_MAGIC = 0xEA02_0000
_MAGIC_SIZE = 4
_END_SIZE = 4
_ENTRY = Struct("<BBHIII")  # length of the name, prefix, where the value is, inode of the value, its length, hash
_BLOCK_HEAD = Struct("<IIIII12x")  # magic, inodes that share it, blocks, hash of all, checksum
_WORD = Struct("<I")

_ACL_VERSION = (1).to_bytes(4, "little")
_ACL_NAMED = Struct("<HHI")  # tag, permissions, id
_ACL_UNNAMED = Struct("<HH")


class Packed(NamedTuple):
    """`inline` goes behind an inode's fields. `block`, if not empty, is for all who have the same."""

    inline: bytes
    block: tuple[Xattr, ...]


@lru_cache(64)
def pack(kind: str, xattrs: tuple[tuple[bytes, bytes], ...]) -> Packed:
    """The xattrs of a file of some kind; what Linux has no such attribute for is left out.

    Raises ValueError: more than ext4 can hold, or one that is malformed.
    """
    every = sorted(map(_on_disk, linux_xattrs(kind, xattrs)), key=_order)
    inline: list[Xattr] = []
    room = IN_INODE - _MAGIC_SIZE - _END_SIZE
    for xattr in sorted(every, key=_size, reverse=True):
        if _size(xattr) <= room:
            inline.append(xattr)
            room -= _size(xattr)
    rest = tuple(xattr for xattr in every if xattr not in inline)
    size = sum(map(_size, rest))
    if size > BLOCK - _BLOCK_HEAD.size - _END_SIZE:
        raise ValueError(f"its xattrs take {size} bytes, which is more than ext4 can hold")
    if not inline:
        return Packed(b"", rest)
    magic = _MAGIC.to_bytes(_MAGIC_SIZE, "little")
    return Packed(magic + _filled(sorted(inline, key=_order), 0, IN_INODE - _MAGIC_SIZE, hashed=False), rest)


def block(xattrs: Sequence[Xattr], sharers: int) -> bytes:
    """The block of what `pack` had no room for, which so many inodes share."""
    whole = 0
    for xattr in xattrs:
        whole = ((whole << 16 | whole >> 16) ^ _hash(xattr)) & 0xFFFF_FFFF
    head = _BLOCK_HEAD.pack(_MAGIC, sharers, 1, whole, 0)
    return head + _filled(xattrs, len(head), BLOCK - len(head), hashed=True)


def _on_disk(xattr: Xattr) -> Xattr:
    if xattr.prefix not in (ACCESS_ACL, DEFAULT_ACL):
        return xattr
    parts = [_ACL_VERSION]
    for entry in acl.entries(xattr.value):
        named = entry.tag in (acl.USER, acl.GROUP)  # only these have an id
        parts.append(_ACL_NAMED.pack(*entry) if named else _ACL_UNNAMED.pack(entry.tag, entry.permissions))
    return xattr._replace(value=b"".join(parts))


def _order(xattr: Xattr) -> tuple[int, int, bytes]:
    """The order of xattrs by which the kernel finds a name in a block."""
    return xattr.prefix, len(xattr.name), xattr.name


def _size(xattr: Xattr) -> int:
    return _ENTRY.size + _padded_size(len(xattr.name)) + _padded_size(len(xattr.value))


def _filled(xattrs: Iterable[Xattr], base: int, size: int, *, hashed: bool) -> bytes:
    """`size` bytes with entries and values; where a value is counts from `base` bytes before."""
    entries, values = b"", b""
    for xattr in xattrs:
        prefix, name, value = xattr
        values = value.ljust(_padded_size(len(value)), b"\0") + values
        where = base + size - len(values) if value else 0
        entries += _ENTRY.pack(len(name), prefix, where, 0, len(value), _hash(xattr) if hashed else 0)
        entries += name.ljust(_padded_size(len(name)), b"\0")
    return entries.ljust(size - len(values), b"\0") + values


def _hash(xattr: Xattr) -> int:
    """Of name and value. The bytes of a name count as signed: so did Linux up to 6.1 and e2fsck up to 1.46 wherever
    `char` is signed, and later ones take these hashes, too."""
    value = 0
    for byte in xattr.name:
        value = ((value << 5 | value >> 27) ^ (byte if byte < 128 else byte - 256)) & 0xFFFF_FFFF
    padded = xattr.value.ljust(_padded_size(len(xattr.value)), b"\0")
    for (word,) in _WORD.iter_unpack(padded):
        value = ((value << 16 | value >> 16) ^ word) & 0xFFFF_FFFF
    return value


def _padded_size(size: int) -> int:
    return (size + 3) & ~3
