"""Extended attributes as ext4 keeps them: as many as fit in what an inode has behind its fields, the others in one
block, which inodes with the same ones share.

"ext4 Data Structures and Algorithms", "Extended Attributes": entries grow from the start, values from the end. POSIX
ACLs have a form of their own on disk, shorter than the one of the system call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import NamedTuple

from c2wtasks.rootfs.ext4.geometry import BLOCK
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK

IN_INODE = 96
"""The bytes of an inode behind its fields."""
MOST_SHARERS = 1024
"""The kernel lets no more inodes share a block."""

_MAGIC = 0xEA02_0000
_MAGIC_SIZE = 4
_END_SIZE = 4
_ENTRY = Struct("<BBHIII")  # length of the name, prefix, where the value is, inode of the value, its length, hash
_BLOCK_HEAD = Struct("<IIIII12x")  # magic, inodes that share it, blocks, hash of all, checksum
_ACLS = {b"system.posix_acl_access": 2, b"system.posix_acl_default": 3}
_PREFIXES = {b"user.": 1, b"trusted.": 4, b"security.": 6}
_DEFAULT_ACL = 3

_ACL_CALL_VERSION = 2
_ACL_DISK_VERSION = 1
_ACL_ENTRY = Struct("<HHI")  # tag, permissions, id
_ACL_SHORT = Struct("<HH")
_ACL_VERSION = Struct("<I")
_ACL_NAMED = (2, 8)  # tags of a user and of a group that is named: only these have an id
_ACL_UNNAMED = (1, 4, 0x10, 0x20)


class Attribute(NamedTuple):
    """In the order that a block must have them in: `length` is the name's."""

    prefix: int
    length: int
    name: bytes
    value: bytes

    @property
    def size(self) -> int:
        return _ENTRY.size + _padded_size(self.length) + _padded_size(len(self.value))


class Packed(NamedTuple):
    """`inline` goes behind an inode's fields. `block`, if not empty, is for all who have the same."""

    inline: bytes
    block: tuple[Attribute, ...]


def pack(kind: str, xattrs: Iterable[tuple[bytes, bytes]]) -> Packed:
    """The xattrs of a file of some kind; what Linux has no such attribute for is left out.

    Raises ValueError: more than ext4 can hold, or an ACL that is malformed.
    """
    attributes = sorted(found for name, value in xattrs if (found := _attribute(kind, name, value)) is not None)
    inline: list[Attribute] = []
    room = IN_INODE - _MAGIC_SIZE - _END_SIZE
    for attribute in sorted(attributes, key=lambda attribute: -attribute.size):
        if attribute.size <= room:
            inline.append(attribute)
            room -= attribute.size
    rest = tuple(attribute for attribute in attributes if attribute not in inline)
    size = sum(attribute.size for attribute in rest)
    if size > BLOCK - _BLOCK_HEAD.size - _END_SIZE:
        raise ValueError(f"its xattrs take {size} bytes, which is more than ext4 can hold")
    if not inline:
        return Packed(b"", rest)
    magic = _MAGIC.to_bytes(_MAGIC_SIZE, "little")
    return Packed(magic + _filled(sorted(inline), 0, IN_INODE - _MAGIC_SIZE, hashed=False), rest)


def block(attributes: Sequence[Attribute], sharers: int) -> bytes:
    whole = 0
    for attribute in attributes:
        whole = ((whole << 16 | whole >> 16) ^ _hash(attribute)) & 0xFFFF_FFFF
    head = _BLOCK_HEAD.pack(_MAGIC, sharers, 1, whole, 0)
    return head + _filled(attributes, len(head), BLOCK - len(head), hashed=True)


def _attribute(kind: str, name: bytes, value: bytes) -> Attribute | None:
    """None where Linux would not take it: it has `user.` only of files and directories, no ACL of a symlink, a
    default ACL only of a directory, and nothing under any other prefix."""
    if acl := _ACLS.get(name):
        if kind == SYMLINK or (acl == _DEFAULT_ACL and kind != DIRECTORY):
            return None
        return Attribute(acl, 0, b"", _acl_on_disk(name, value))
    for text, prefix in _PREFIXES.items():
        if name.startswith(text) and name != text and (text != b"user." or kind in (FILE, DIRECTORY)):
            rest = name[len(text) :]
            return Attribute(prefix, len(rest), rest, value)
    return None


def _acl_on_disk(name: bytes, value: bytes) -> bytes:
    malformed = ValueError(f"its xattr {name.decode()} is malformed")
    body = value[_ACL_VERSION.size :]
    if value[: _ACL_VERSION.size] != _ACL_VERSION.pack(_ACL_CALL_VERSION) or len(body) % _ACL_ENTRY.size:
        raise malformed
    made = [_ACL_VERSION.pack(_ACL_DISK_VERSION)]
    for tag, permissions, who in _ACL_ENTRY.iter_unpack(body):
        if tag in _ACL_NAMED:
            made.append(_ACL_ENTRY.pack(tag, permissions, who))
        elif tag in _ACL_UNNAMED:
            made.append(_ACL_SHORT.pack(tag, permissions))
        else:
            raise malformed
    return b"".join(made)


def _filled(attributes: Iterable[Attribute], base: int, size: int, *, hashed: bool) -> bytes:
    """`size` bytes with entries and values; where a value is counts from `base` bytes before."""
    entries, values = b"", b""
    for attribute in attributes:
        prefix, length, name, value = attribute
        values = value.ljust(_padded_size(len(value)), b"\0") + values
        where = base + size - len(values) if value else 0
        name_hash = _hash(attribute) if hashed else 0
        entries += _ENTRY.pack(length, prefix, where, 0, len(value), name_hash)
        entries += name.ljust(_padded_size(length), b"\0")
    return entries.ljust(size - len(values), b"\0") + values


def _hash(attribute: Attribute) -> int:
    """The kernel takes the bytes of a name as signed, wherever `char` is."""
    value = 0
    for byte in attribute.name:
        value = ((value << 5 | value >> 27) ^ (byte if byte < 128 else byte - 256)) & 0xFFFF_FFFF
    padded = attribute.value.ljust(_padded_size(len(attribute.value)), b"\0")
    for (word,) in _ACL_VERSION.iter_unpack(padded):
        value = ((value << 16 | value >> 16) ^ word) & 0xFFFF_FFFF
    return value


def _padded_size(size: int) -> int:
    return (size + 3) & ~3
