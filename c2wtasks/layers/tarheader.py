"""Reads one header block of a tar: v7, ustar, star, GNU, as Go's `archive/tar` does."""

from __future__ import annotations

import struct
from functools import lru_cache
from zlib import adler32

from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.tarlimits import ArchiveError
from c2wtasks.oci.image import bound_time

BLOCK = 512
MAX_INT64 = 2**63 - 1
HEADER_ONLY = frozenset("123456")
"""The kinds of entries that have no content, whatever size their header states."""
_EXTENSION = struct.Struct("8s64x8s8s155s12s")
_USTAR, _GNU, _STAR_TRAILER = b"ustar\0", b"ustar  \0", b"tar\0"


def read_header(block: bytes, position: int) -> tuple[TarEntry, int]:
    """The entry that the header block at `position` (bytes) of a tar alone describes, and its size field (bytes).

    What is the same in most headers is read once and remembered as a whole: so one takes 8 us, not 20.

    Raises ArchiveError.
    """
    try:
        _check_sum(block)
        mode, uid, gid = _ids(block[100:124])
        major, minor, prefix = _extension(block[257:])
        name = block[:100].partition(b"\0")[0]
        entry = TarEntry(
            block[156:157].decode("latin-1"),
            prefix + b"/" + name if prefix else name,
            mode,
            uid,
            gid,
            bound_time(_number(block[136:148]) * 10**9),
            position,
            target=block[157:257].partition(b"\0")[0] if block[157] else b"",
            major=major,
            minor=minor,
        )
        return entry, _number(block[124:136])
    except ValueError as error:
        raise ArchiveError(f"no tar header at offset {position}: {error}") from None


def _check_sum(block: bytes) -> None:
    """Compares a header's checksum with the sum of all its bytes, the checksum's own field taken as eight spaces.

    The low half of an Adler-32 is one more than the sum, as long as that is below 65,521, as that of 256 bytes
    always is. `sum(block)` takes four times as long.

    Raises ValueError.
    """
    one, two, three = adler32(block[:148]), adler32(block[156:404]), adler32(block[404:])
    found = (one & 0xFFFF) + (two & 0xFFFF) + (three & 0xFFFF) - 3 + 8 * 32
    checksum = block[148:156]
    if checksum != b"%06o\0 " % found:  # as nearly all write it
        stated = _octal(checksum)
        if stated != found and stated != _signed_sum(block):
            raise ValueError(f"its checksum is {stated}, the block's is {found}")


@lru_cache(1024)
def _ids(fields: bytes) -> tuple[int, int, int]:
    """Mode, user and group, from the fields at byte 100 of a header. Raises ValueError."""
    mode, uid, gid = (_number(fields[at : at + 8]) for at in (0, 8, 16))
    return mode & 0o7777, uid & 0xFFFF_FFFF, gid & 0xFFFF_FFFF


@lru_cache(1024)
def _extension(fields: bytes) -> tuple[int, int, bytes]:
    """What ustar and GNU have added to the old header: device numbers, and what to put before the name. Raises
    ValueError."""
    magic, major, minor, prefix, tail = _EXTENSION.unpack(fields)
    if magic[:6] != _USTAR and magic != _GNU:
        return 0, 0, b""
    return _number(major) & 0xFFF, _number(minor) & 0xFFFFF, _prefix(magic, prefix, tail)


def _prefix(magic: bytes, field: bytes, tail: bytes) -> bytes:
    if magic == _GNU:
        # GNU keeps atime and ctime here; old Go writers put a ustar prefix, which does not parse as times.
        try:
            for time in (field[:12], field[12:24]):
                if time[0]:
                    _number(time)
        except ValueError:
            text = field.partition(b"\0")[0]
            return text if text.isascii() else b""
        return b""
    if tail.endswith(_STAR_TRAILER):  # star keeps them after a shorter prefix
        _number(field[131:143])
        _number(field[143:])
        field = field[:131]
    return field.partition(b"\0")[0]


def _octal(field: bytes) -> int:
    text = field.strip(b" \0").partition(b"\0")[0]
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise ValueError(f"{field!r} is not an octal number")
    return int(text, 8)


@lru_cache(4096)
def _number(field: bytes) -> int:
    """The number in a field: octal, or GNU's base-256 (two's complement, the top bit set), which must fit 64 bits.

    Raises ValueError.
    """
    if not field[0] & 0x80:
        return _octal(field)
    value = int.from_bytes(field, "big") & ~(1 << (8 * len(field) - 1))
    if field[0] & 0x40:
        value -= 1 << (8 * len(field) - 1)
    if not -(2**63) <= value <= MAX_INT64:
        raise ValueError(f"{field!r} is a number beyond 64 bits")
    return value


def _signed_sum(block: bytes) -> int:
    """The checksum of old Sun tars, which took bytes as signed."""
    return sum(c - 256 if c > 127 else c for c in block[:148] + block[156:]) + 256
