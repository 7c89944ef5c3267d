"""Extended attributes as EROFS keeps them behind an inode: a head, then name and value of each (the kernel's
Documentation/filesystems/erofs.rst, "On-disk details"). POSIX ACLs have the form of the system call."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from c2wtasks.rootfs.writing.linuxfs import Xattr, linux_xattrs

MAX_VALUE = 2**16 - 1
_HEAD = bytes(12)  # a filter of names, which may be left out, and how many are shared: none
MAX_SIZE = len(_HEAD) + 4 * (2**16 - 2)

_ENTRY = Struct("<BBH")  # length of the name, prefix, length of the value


def pack(kind: str, xattrs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What lies behind an inode of some kind, a multiple of 4 bytes; nothing if all are such as Linux does not have
    of it.

    Raises ValueError: more than EROFS can hold, or one that is malformed.
    """
    packed = b"".join([_packed(xattr) for xattr in linux_xattrs(kind, xattrs)])
    size = len(_HEAD) + len(packed)
    if size > MAX_SIZE:
        raise ValueError(f"its xattrs take {size} bytes, and EROFS takes {MAX_SIZE}")
    return _HEAD + packed if packed else b""


def _packed(xattr: Xattr) -> bytes:
    prefix, name, value = xattr
    if len(value) > MAX_VALUE:
        raise ValueError(f"an xattr of {len(value)} bytes is more than EROFS can hold")
    entry = _ENTRY.pack(len(name), prefix, len(value)) + name + value
    return entry + bytes(-len(entry) % 4)
