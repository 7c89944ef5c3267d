"""POSIX ACLs as Linux has them in xattrs, and what it makes of them (acl(5); the kernel's `fs/posix_acl.c`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from errno import EACCES, EINVAL
from struct import Struct
from typing import NamedTuple

from c2wtasks.tree.model import DIRECTORY, SYMLINK

ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"

OWNER, USER, GROUP_OF_FILE, GROUP, MASK, OTHERS = 1, 2, 4, 8, 0x10, 0x20
_NAMED = (USER, GROUP)
_IN_MODE = (OWNER, GROUP_OF_FILE, OTHERS)
"""A mode says all of an ACL that has no more than these."""

_VERSION = (2).to_bytes(4, "little")
_ENTRY = Struct("<HHI")
_PERMISSIONS = 2  # where they are in an entry
_NO_ID = 0xFFFF_FFFF
_ALL = 7
_TAGS = re.compile(rb"\x01(\x04\x10?|\x02*\x04\x08*\x10)\x20")
"""Owner, users, group, groups, mask, others; the mask must be there where a user or a group is named."""


class AclEntry(NamedTuple):
    """One entry of an ACL. `id` means something only where its `tag` names a user or a group."""

    tag: int
    permissions: int
    id: int


def entries(value: bytes) -> list[AclEntry]:
    """The entries of an ACL as setxattr(2) takes it: its version, then 8 bytes for each.

    Raises ValueError: Linux would not set it.
    """
    if value[: len(_VERSION)] != _VERSION:
        raise ValueError("it is of another version")
    found = _read(value)
    _check(found)
    return found


def as_set(kind: str, name: bytes, value: bytes) -> bytes | None:
    """What setxattr(2) of ACCESS or DEFAULT leaves on a file of some kind: b"" is no ACL; None where the kernel does
    not support it and changes nothing.

    Raises OSError, as setxattr(2) does: EINVAL, EACCES.
    """
    try:
        if len(value) >= len(_VERSION) and not value.startswith(_VERSION):
            return None
        found = _read(value) if value else []
        if kind == SYMLINK:
            return None
        if found and name == DEFAULT and kind != DIRECTORY:
            raise OSError(EACCES, os.strerror(EACCES))
        _check(found)
    except ValueError:
        raise OSError(EINVAL, os.strerror(EINVAL)) from None
    return _pack(found) if found else b""


def with_mode(value: bytes, mode: int) -> bytes:
    """What chmod(2) leaves of an access ACL that `as_set` gave; b"" where the mode says it all.

    Its first entry is the owner's, the last that of others, before which the mask is. No other is looked at: an ACL
    may have 8,000, and a chmod takes 512 bytes of a tar.
    """
    count = (len(value) - len(_VERSION)) // _ENTRY.size
    if count == len(_IN_MODE):
        return b""
    changed = bytearray(value)
    for at, permissions in ((0, mode >> 6), (count - 2, mode >> 3), (count - 1, mode)):
        changed[len(_VERSION) + at * _ENTRY.size + _PERMISSIONS] = permissions & _ALL
    return bytes(changed)


def _read(value: bytes) -> list[AclEntry]:
    body = value[len(_VERSION) :]
    if len(value) < len(_VERSION) or len(body) % _ENTRY.size:
        raise ValueError("its length is wrong")
    found = [AclEntry(*fields) for fields in _ENTRY.iter_unpack(body)]
    for entry in found:
        if entry.tag not in (*_IN_MODE, *_NAMED, MASK) or (entry.tag in _NAMED and entry.id == _NO_ID):
            raise ValueError("an entry of it is malformed")
    return found


def _check(found: list[AclEntry]) -> None:
    """Raises ValueError: the entries are no ACL."""
    if any(entry.permissions > _ALL for entry in found):
        raise ValueError("it has other permissions than there are")
    if found and not _TAGS.fullmatch(bytes([entry.tag for entry in found])):
        raise ValueError("its entries are not those of an ACL, or not in order")


def _pack(found: Iterable[AclEntry]) -> bytes:
    """The entries of an ACL as getxattr(2) gives it."""
    packed = [_ENTRY.pack(tag, permissions, id if tag in _NAMED else _NO_ID) for tag, permissions, id in found]
    return _VERSION + b"".join(packed)
