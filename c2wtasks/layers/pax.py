"""Reads the records of PAX headers, and puts into an entry what they say of it, as Go's `archive/tar` does."""

from __future__ import annotations

import re

from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.tarheader import MAX_INT64
from c2wtasks.layers.tarlimits import MAX_XATTR, MAX_XATTR_NAME, MAX_XATTRS, ArchiveError, Budget, beyond, where
from c2wtasks.oci.image import bound_time

_DECIMAL = re.compile(rb"[+-]?[0-9]+")
_XATTR = b"SCHILY.xattr."
_TRUSTED = b"trusted."


def read_pax(data: bytes, entry: TarEntry, budget: Budget) -> dict[bytes, bytes]:
    """The PAX records in `data` ("%d %s=%s\\n"), those of sparse format 0.0 gathered into 0.1's `GNU.sparse.map`.

    Raises ArchiveError: a record is malformed, or there are too many.
    """
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    at = count = 0
    try:
        while at < len(data):
            count += 1
            space = data.index(b" ", at)
            length = decimal(data[at:space])
            record = data[space + 1 : at + length - 1]
            if length < 5 or at + length > len(data) or data[at + length - 1] != 0x0A:
                raise ValueError
            key, equals, value = record.partition(b"=")
            if (
                not equals
                or not key
                or b"\0" in (value if key in (b"path", b"linkpath", b"uname", b"gname") else key)
            ):
                raise ValueError
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                if (key == b"GNU.sparse.offset") == bool(len(sparse) % 2) or b"," in value:
                    raise ValueError
                sparse.append(value)
            else:
                records[key] = value
            at += length
    except ValueError:
        raise ArchiveError(f"malformed PAX record in the extended header at offset {entry.header}") from None
    budget.take_records(count, entry)
    if sparse:
        records[b"GNU.sparse.map"] = b",".join(sparse)
    return records


def decimal(text: bytes) -> int:
    """The number that `text` is, with a sign or without.

    Raises ValueError where it is none, or one of more than 64 bits.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError
    value = int(text)
    if not -(2**63) <= value <= MAX_INT64:
        raise ValueError
    return value


def _pax_time(text: bytes) -> int:
    seconds, _, fraction = text.partition(b".")
    whole = decimal(seconds) * 10**9
    if not fraction:
        return bound_time(whole)
    if not fraction.isdigit():
        raise ValueError
    part = int(fraction[:9].ljust(9, b"0"))
    return bound_time(whole - part if seconds.startswith(b"-") else whole + part)


def merge_pax(entry: TarEntry, size: int, pax: dict[bytes, bytes]) -> int:
    """Puts PAX records into `entry` (Go's `mergePAX`). Gives its size in bytes: theirs, if they state one.

    Raises ArchiveError: a value cannot be read, or is more than a kernel takes.
    """
    try:
        for key, value in pax.items():
            if key.startswith(_XATTR):
                _add_xattr(entry, key[len(_XATTR) :], value)
            elif not value:
                continue
            elif key == b"path":
                entry.name = value
            elif key == b"linkpath":
                entry.target = value
            elif key == b"uid":
                entry.uid = decimal(value) & 0xFFFF_FFFF
            elif key == b"gid":
                entry.gid = decimal(value) & 0xFFFF_FFFF
            elif key == b"mtime":
                entry.mtime_ns = _pax_time(value)
            elif key in (b"atime", b"ctime"):
                _pax_time(value)
            elif key == b"size":
                size = decimal(value)
    except ArchiveError:
        raise
    except ValueError:
        shown = key.decode("utf-8", "backslashreplace")
        raise ArchiveError(f"PAX record {shown} has the value {value[:40]!r}{where(entry)}") from None
    return size


def _add_xattr(entry: TarEntry, name: bytes, value: bytes) -> None:
    """Raises ArchiveError, where a kernel takes no such name or value."""
    if name.startswith(_TRUSTED):
        return
    if not 0 < len(name) <= MAX_XATTR_NAME:
        raise ArchiveError(f"an xattr with a name of {len(name)} bytes (1 to {MAX_XATTR_NAME}){where(entry)}")
    if len(value) > MAX_XATTR:
        shown = repr(name.decode("utf-8", "backslashreplace"))
        raise ArchiveError(f"xattr {shown} has a value of {len(value)} bytes ({MAX_XATTR} at most){where(entry)}")
    if entry.xattrs is None:
        entry.xattrs = {}
    elif len(entry.xattrs) == MAX_XATTRS:
        raise beyond("xattrs", MAX_XATTRS, entry)
    entry.xattrs[name] = value
