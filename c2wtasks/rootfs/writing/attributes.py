"""What ext4 and EROFS keep of a file in the same way: the xattrs that Linux has of it and the numbers of a device.
And the UUIDs of an image."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from typing import NamedTuple

from c2wtasks.tree import acl
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK

ACCESS_ACL, DEFAULT_ACL = 2, 3
"""The prefixes of POSIX ACLs, which are the whole name."""

_MAX_NAME = 255
_PREFIXES = {b"user.": 1, b"trusted.": 4, b"security.": 6}
_ACLS = {acl.ACCESS: ACCESS_ACL, acl.DEFAULT: DEFAULT_ACL}


class Xattr(NamedTuple):
    """`prefix` is the number that both file systems have for the beginning of a name, `name` is what comes after."""

    prefix: int
    name: bytes
    value: bytes


def linux_xattrs(kind: str, xattrs: Iterable[tuple[bytes, bytes]]) -> list[Xattr]:
    """Those that Linux has of a file of some kind, in the order given: `user.` only of files and directories, no ACL
    of a symlink, a default ACL only of a directory, no empty ACL, and nothing with any other prefix (xattr(7)).

    Raises ValueError: one that Linux takes for malformed.
    """
    return [found for name, value in xattrs if (found := _linux_xattr(kind, name, value)) is not None]


def _linux_xattr(kind: str, name: bytes, value: bytes) -> Xattr | None:
    if which := _ACLS.get(name):
        if kind == SYMLINK or (which == DEFAULT_ACL and kind != DIRECTORY):
            return None
        try:
            return Xattr(which, b"", value) if acl.entries(value) else None
        except ValueError:
            raise ValueError(f"its xattr {name.decode()} is malformed") from None
    for text, prefix in _PREFIXES.items():
        if name.startswith(text) and name != text and (text != b"user." or kind in (FILE, DIRECTORY)):
            if len(name) > _MAX_NAME:
                raise ValueError(f"the name of an xattr has {len(name)} bytes, and Linux takes {_MAX_NAME}")
            return Xattr(prefix, name[len(text) :], value)
    return None


def device_number(numbers: tuple[int, int]) -> int:
    """The 32 bits of a device (major, minor): 12 bits of the one between 8 and 12 of the other, as Linux has it."""
    major, minor = numbers
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def uuids(key: bytes) -> tuple[bytes, bytes]:
    """Two random-looking UUIDs (RFC 9562, version 4): the same for the same key, different for another."""
    digest = hashlib.sha256(key).digest()
    first, second = (uuid.UUID(bytes=half, version=4).bytes for half in (digest[:16], digest[16:]))
    return first, second
