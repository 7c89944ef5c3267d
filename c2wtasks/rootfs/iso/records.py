"""ECMA-119: its numbers, dates, directory records, path tables and volume descriptors. What stands in brackets are
sections of its second edition."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

BLOCK = 2048
DIRECTORY_FLAG, MORE_EXTENTS_FLAG = 0x02, 0x80
LONGEST_IDENTIFIER = 14  # ABCDEFGH.EXT;1

_FIXED = 33  # where a record's identifier is
LARGE = 1 << 18
_LONGEST_RECORD = 254  # the length is one byte, and even
SYSTEM_USE_ROOM = _LONGEST_RECORD - _FIXED - (LONGEST_IDENTIFIER | 1)
"""The bytes of system use that a record has room for, whatever its identifier."""
TERMINATOR = b"\xffCD001\1".ljust(BLOCK, b"\0")
"""The volume descriptor set terminator (8.3)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND = int((datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
_LAST_SECOND = int((datetime(2156, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) - 1
_NO_DATE = b"0" * 16 + b"\0"
_PARENT_MAX = 0xFFFF
_little = struct.Struct("<I").pack
_big = struct.Struct(">I").pack


def both(number: int) -> bytes:
    """A 32-bit number in both byte orders (7.3.3)."""
    return _little(number) + _big(number)


def both_short(number: int) -> bytes:
    """A 16-bit number in both byte orders (7.2.3)."""
    return struct.pack("<H", number) + struct.pack(">H", number)


def blocks(size: int) -> int:
    """How many blocks `size` bytes take."""
    return -(-size // BLOCK)


def fill(content: bytearray) -> None:
    """Fills up the last block with zeros."""
    content += bytes(-len(content) % BLOCK)


@lru_cache(4096)
def date(seconds: int) -> bytes:
    """A date in the short form (9.1.5), in UTC, of the years 1900 to 2155: other times become the nearest of them."""
    when = _EPOCH + timedelta(seconds=min(max(seconds, _FIRST_SECOND), _LAST_SECOND))
    return bytes((when.year - 1900, when.month, when.day, when.hour, when.minute, when.second, 0))


def record(name: bytes, flags: int, extent: int, size: int, recorded: bytes, system_use: bytes = b"") -> bytes:
    """A directory record (9.1). `system_use` has an even length, as records have."""
    padded = name if len(name) & 1 else name + b"\0"
    fixed = (_FIXED + len(padded) + len(system_use), both(extent), both(size), recorded, flags, len(name))
    return b"%c\0%b%b%b%c\0\0\1\0\0\1%c%b%b" % (*fixed, padded, system_use)


def size(name: bytes, system_use: int) -> int:
    """The bytes of a record with that identifier and so many of system use."""
    return _FIXED + (len(name) | 1) + system_use


def filled_size(sizes: Iterable[int]) -> int:
    """The bytes of records of these sizes, as `Records` puts them one after the other, in whole blocks."""
    full = used = 0  # blocks, and bytes in the next one
    for one in sizes:
        used += one
        if used > BLOCK:
            full += 1
            used = one
    return (full + 1) * BLOCK


class Records:
    """The records of a directory, none of which crosses the end of a block."""

    def __init__(self) -> None:
        self.content = bytearray()

    def add(self, made: bytes) -> None:
        """Adds a record, in a new block where it would cross the end of this one."""
        if len(self.content) % BLOCK + len(made) > BLOCK:
            fill(self.content)
        self.content += made

    def full(self) -> bytes:
        """The blocks that are full, which are taken away."""
        whole = len(self.content) - len(self.content) % BLOCK
        made = bytes(self.content[:whole])
        del self.content[:whole]
        return made


def path_table_size(names: Iterable[bytes]) -> int:
    """The bytes of either path table, from the identifiers of all directories."""
    return sum(8 + len(name) + (len(name) & 1) for name in names)


def path_table(directories: Iterable[tuple[bytes, int, int]], order: str) -> bytes:
    """A path table (9.4) of (identifier, extent, number of the parent from 1 on), `order` "<" or ">".

    A parent that does not count in 16 bits becomes the highest that does: mkisofs does the same when it is told not
    to stop there, and Linux does not look at path tables.
    """
    pack = struct.Struct(order + "BBIH").pack
    table = bytearray()
    for name, extent, parent in directories:
        table += pack(len(name), 0, extent, min(parent, _PARENT_MAX)) + name + b"\0" * (len(name) & 1)
    return bytes(table)


def primary_descriptor(
    volume_id: str, created_ns: int, space: int, table_size: int, first_table: int, root: bytes | bytearray
) -> bytes:
    """The primary volume descriptor (8.4). `space` is in blocks; the path tables begin at block `first_table`, that
    in little-endian order first; `root` is the root's record."""
    created = _long_date(created_ns)
    parts = [
        b"\1CD001\1\0",
        b" " * 32,  # system
        volume_id.encode("ascii").ljust(32),
        bytes(8),
        both(space),
        bytes(32),
        both_short(1),  # volumes in the set
        both_short(1),  # the number of this one
        both_short(BLOCK),
        both(table_size),
        _little(first_table) + bytes(4),
        _big(first_table + blocks(table_size)) + bytes(4),
        root,
        b" " * (4 * 128 + 3 * 37),  # volume set, publisher, preparer, application; names of three files
        created,
        created,  # modified
        _NO_DATE,  # expires
        _NO_DATE,  # effective
        b"\1",
    ]
    return b"".join(parts).ljust(BLOCK, b"\0")


def _long_date(time_ns: int) -> bytes:
    """The form with digits and hundredths of seconds (8.4.26.1), in UTC."""
    when = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return f"{when:%Y%m%d%H%M%S}{when.microsecond // 10_000:02}".rjust(16, "0").encode() + b"\0"
