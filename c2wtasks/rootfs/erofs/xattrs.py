"""Extended attributes as EROFS keeps them behind an inode: a head, then name and value of each (the kernel's
Documentation/filesystems/erofs.rst, "On-disk details"). POSIX ACLs have the form of the system call."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK

MAX_NAME = 255
MAX_VALUE = 2**16 - 1
_HEAD = bytes(12)
MAX_SIZE = len(_HEAD) + 4 * (2**16 - 2)

_ENTRY = Struct("<BBH")  # length of the name, prefix, length of the value
_PREFIXES = {b"user.": 1, b"trusted.": 4, b"security.": 6}
_ACCESS_ACL, _DEFAULT_ACL = 2, 3
_ACLS = {b"system.posix_acl_access": _ACCESS_ACL, b"system.posix_acl_default": _DEFAULT_ACL}
_ACL_VERSION = (2).to_bytes(4, "little")
_ACL_ENTRY_SIZE = 8


def pack(kind: str, xattrs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What lies behind an inode of some kind, a multiple of 4 bytes; nothing if all are such as Linux does not have
    of it.

    Raises ValueError: more than EROFS can hold, or an ACL that is malformed.
    """
    packed = b"".join([_entry(kind, name, value) for name, value in xattrs])
    size = len(_HEAD) + len(packed)
    if size > MAX_SIZE:
        raise ValueError(f"its xattrs take {size} bytes, and EROFS takes {MAX_SIZE}")
    return _HEAD + packed if packed else b""


def _entry(kind: str, name: bytes, value: bytes) -> bytes:
    """Nothing where Linux would not take it: it has `user.` only of files and directories, no ACL of a symlink, a
    default ACL only of a directory, and nothing under any other prefix."""
    if acl := _ACLS.get(name):
        if kind == SYMLINK or (acl == _DEFAULT_ACL and kind != DIRECTORY):
            return b""
        if value[: len(_ACL_VERSION)] != _ACL_VERSION or (len(value) - len(_ACL_VERSION)) % _ACL_ENTRY_SIZE:
            raise ValueError(f"its xattr {name.decode()} is malformed")
        return _packed(acl, b"", value)
    for text, prefix in _PREFIXES.items():
        if name.startswith(text) and name != text and (text != b"user." or kind in (FILE, DIRECTORY)):
            if len(name) > MAX_NAME:
                raise ValueError(f"the name of an xattr has {len(name)} bytes, and Linux takes {MAX_NAME}")
            return _packed(prefix, name[len(text) :], value)
    return b""


def _packed(prefix: int, name: bytes, value: bytes) -> bytes:
    if len(value) > MAX_VALUE:
        raise ValueError(f"an xattr of {len(value)} bytes is more than EROFS can hold")
    entry = _ENTRY.pack(len(name), prefix, len(value)) + name + value
    return entry + bytes(-len(entry) % 4)
