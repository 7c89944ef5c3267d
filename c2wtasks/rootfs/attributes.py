"""What ext4 and EROFS keep of a file in the same way: the xattrs that Linux has of it and the numbers of a device.
And the UUIDs of an image."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK

ACCESS_ACL, DEFAULT_ACL = 2, 3
"""The prefixes of POSIX ACLs, which are the whole name."""

_MAX_NAME = 255
_PREFIXES = {b"user.": 1, b"trusted.": 4, b"security.": 6}
_ACLS = {b"system.posix_acl_access": ACCESS_ACL, b"system.posix_acl_default": DEFAULT_ACL}

_ACL_VERSION = (2).to_bytes(4, "little")
_ACL_ENTRY = Struct("<HHI")
_PERMISSIONS = 7
_TAGS = re.compile(rb"\x01(\x04\x10?|\x02*\x04\x08*\x10)\x20")
"""Owner, users, group, groups, mask, others; the mask must be there where a user or a group is named."""


class Xattr(NamedTuple):
    """`prefix` is the number that both file systems have for the beginning of a name, `name` is what comes after."""

    prefix: int
    name: bytes
    value: bytes


class AclEntry(NamedTuple):
    """`id` means something only where a user or a group is named."""

    tag: int
    permissions: int
    id: int


def linux_xattrs(kind: str, xattrs: Iterable[tuple[bytes, bytes]]) -> list[Xattr]:
    """Those that Linux has of a file of some kind, in the order given: `user.` only of files and directories, no ACL
    of a symlink, a default ACL only of a directory, no empty ACL, and nothing with any other prefix (xattr(7)).

    Raises ValueError: one that Linux takes for malformed.
    """
    return [found for name, value in xattrs if (found := _linux_xattr(kind, name, value)) is not None]


def _linux_xattr(kind: str, name: bytes, value: bytes) -> Xattr | None:
    if acl := _ACLS.get(name):
        if kind == SYMLINK or (acl == DEFAULT_ACL and kind != DIRECTORY):
            return None
        try:
            return Xattr(acl, b"", value) if acl_entries(value) else None
        except ValueError:
            raise ValueError(f"its xattr {name.decode()} is malformed") from None
    for text, prefix in _PREFIXES.items():
        if name.startswith(text) and name != text and (text != b"user." or kind in (FILE, DIRECTORY)):
            if len(name) > _MAX_NAME:
                raise ValueError(f"the name of an xattr has {len(name)} bytes, and Linux takes {_MAX_NAME}")
            return Xattr(prefix, name[len(text) :], value)
    return None


def acl_entries(value: bytes) -> list[AclEntry]:
    """The entries of a POSIX ACL in the form of the system call: its version, then 8 bytes for each.

    Raises ValueError: Linux would not set it (`posix_acl_valid`).
    """
    version, body = value[: len(_ACL_VERSION)], value[len(_ACL_VERSION) :]
    if version != _ACL_VERSION or len(body) % _ACL_ENTRY.size:
        raise ValueError
    entries = [AclEntry(*fields) for fields in _ACL_ENTRY.iter_unpack(body)]
    if any(entry.tag > 0xFF or entry.permissions > _PERMISSIONS for entry in entries):
        raise ValueError
    if entries and not _TAGS.fullmatch(bytes([entry.tag for entry in entries])):
        raise ValueError
    return entries


def device_number(numbers: tuple[int, int]) -> int:
    """The 32 bits of a device (major, minor): 12 bits of the one between 8 and 12 of the other, as Linux has it."""
    major, minor = numbers
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def uuids(key: bytes) -> tuple[bytes, bytes]:
    """Two random-looking UUIDs (RFC 9562, version 4): the same for the same key, different for another."""
    digest = hashlib.sha256(key).digest()
    first, second = (uuid.UUID(bytes=half, version=4).bytes for half in (digest[:16], digest[16:]))
    return first, second
