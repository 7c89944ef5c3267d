"""Reads the headers of a tar: v7, ustar, star, GNU and PAX, exactly as Go's `archive/tar` (which containerd reads
layers with) takes them, so that what it reads we read and what it refuses we refuse.

Known consequences: global PAX records change no later entry; the mode is never taken from PAX; old-GNU sparse
files ("S") are left for the tree to refuse; whatever follows two zero blocks is not looked at. What containerd makes
nothing of is left out: xattrs in `trusted.`, long link targets of what is no link.

What an entry may have is limited, so that a few bytes of a compressed layer cannot make much of our memory or time:
by what a kernel takes, and where that says nothing by far more than any image has.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from zlib import adler32

from c2wtasks.layers import fragments
from c2wtasks.layers.entry import Entry
from c2wtasks.layers.mapped import Content
from c2wtasks.oci.image import bound_time

BLOCK = 512
_ZEROS = bytes(BLOCK)
_MAX_SPECIAL = 1 << 20
MAX_PATH = 4096
"""Bytes of a name or of a link's target."""
MAX_XATTR_NAME, MAX_XATTR = 255, 65536
"""Bytes; a kernel takes no more."""
MAX_XATTRS = 1024
"""Of an entry."""
MAX_FRAGMENTS = 1 << 18
"""Of all sparse files in a layer."""
MAX_RECORDS = 1_000_000
"""Of PAX, in a layer, beyond _USUAL_RECORDS for each header."""
_USUAL_RECORDS = 16
_MAX_INT64 = 2**63 - 1
_EXTENSION = struct.Struct("8s64x8s8s155s12s")
_HEADER_ONLY = frozenset("123456")
_LINKS = frozenset("12")
_SPECIAL = frozenset("xgLK")
_DECIMAL = re.compile(rb"[+-]?[0-9]+")
_DECIMALS = re.compile(rb"[+-]?[0-9]+(?:,[+-]?[0-9]+)*")
_XATTR = b"SCHILY.xattr."
_TRUSTED = b"trusted."
_USTAR, _GNU, _STAR_TRAILER = b"ustar\0", b"ustar  \0", b"tar\0"

Buffer = Content | memoryview


class ArchiveError(ValueError):
    """The archive cannot be read. `str()` names the offset and, where it is known, the entry."""


class _Budget:
    """What a layer may still have of what makes much work or memory of few bytes."""

    __slots__ = ("_fragments", "_records")

    def __init__(self) -> None:
        self._fragments, self._records = MAX_FRAGMENTS, MAX_RECORDS

    def take_fragments(self, count: int, entry: Entry) -> None:
        """Raises ArchiveError."""
        self._fragments -= count
        if self._fragments < 0:
            raise _beyond("fragments of sparse files in one layer", MAX_FRAGMENTS, entry)

    def take_records(self, count: int, entry: Entry) -> None:
        """Raises ArchiveError."""
        self._records -= max(0, count - _USUAL_RECORDS)
        if self._records < 0:
            raise _beyond("PAX records in one layer", MAX_RECORDS, entry)


def _beyond(what: str, limit: int, entry: Entry) -> ArchiveError:
    return ArchiveError(f"more {what} than are read ({limit}){_at(entry)}")


def read_entries(tar: Buffer) -> Iterator[Entry]:
    """The entries of the tar in `tar`, in order.

    Raises ArchiveError.
    """
    budget = _Budget()
    position, end = 0, len(tar)
    pax: dict[bytes, bytes] = {}
    long_name = long_target = b""
    start = 0  # of the first header that belongs to the entry: its PAX or GNU long-name header, if any
    fresh = True
    while True:
        if fresh:
            start = position
        block = bytes(tar[position : position + BLOCK])
        if len(block) < BLOCK:
            if block:
                raise ArchiveError(f"the tar ends inside the header at offset {position}")
            return
        if block == _ZEROS:
            following = bytes(tar[position + BLOCK : position + 2 * BLOCK])
            if following not in (_ZEROS, b""):
                raise ArchiveError(f"a zero block at offset {position} is not followed by another")
            return
        entry, size = _read_header(block, position)
        position += BLOCK
        kind = entry.kind
        if fresh and kind == "0" and 0 <= size <= end - position:  # nearly all are plain files: the short way
            entry.offset, entry.size = position, size
            position += size + -size % BLOCK
            yield entry
            continue
        fresh = False
        if kind in _SPECIAL:
            data, position = _special(tar, position, size, end, entry)
            if kind == "x":
                pax = _read_pax(data, entry, budget)
            elif kind == "L":
                long_name = data.partition(b"\0")[0]
            elif kind == "K":
                long_target = data.partition(b"\0")[0]
            else:
                entry.name = _read_pax(data, entry, budget).get(b"path") or entry.name
                entry.header = start
                _check_lengths(entry)
                yield entry
                pax, long_name, long_target, fresh = {}, b"", b"", True
            continue
        stated = 0 if kind in _HEADER_ONLY else size  # Go checks the header's own size before PAX replaces it
        if pax:
            size = _merge_pax(entry, size, pax)
        if long_name:
            entry.name = long_name
        if long_target:
            entry.target = long_target
        if kind == "\0":
            kind = entry.kind = "5" if entry.name.endswith(b"/") else "0"
        if kind in _HEADER_ONLY:
            size = 0
        if min(size, stated) < 0:
            raise ArchiveError(f"negative size at offset {start}{_named(entry)}")
        if kind == "S":
            position = _after_old_gnu_map(tar, position)
        entry.header, entry.offset, entry.size = start, position, size
        if pax and kind != "S":
            _merge_sparse(tar, entry, pax, end, budget)
        _check_lengths(entry)
        position += size
        if position > end:
            raise ArchiveError(
                f"the tar ends inside the content at offset {entry.offset}{_named(entry)}: "
                f"{max(0, end - entry.offset)} of {size} bytes"
            )
        position += -size % BLOCK
        yield entry
        if pax:
            pax = {}
        long_name = long_target = b""
        fresh = True


def _after_old_gnu_map(tar: Buffer, position: int) -> int:
    """Where the content of an old-GNU sparse file begins: after the rest of the map that its header has begun."""
    more = tar[position - BLOCK + 482 : position - BLOCK + 483]
    while bytes(more).strip(b"\0"):
        more = tar[position + 504 : position + 505]
        position += BLOCK
    return position


def _check_lengths(entry: Entry) -> None:
    """Raises ArchiveError."""
    if len(entry.name) > MAX_PATH:
        raise ArchiveError(f"a name of {len(entry.name)} bytes ({MAX_PATH} at most){_at(entry)}")
    if len(entry.target) > MAX_PATH:
        if entry.kind not in _LINKS:
            entry.target = b""
            return
        raise ArchiveError(f"a link target of {len(entry.target)} bytes ({MAX_PATH} at most){_at(entry)}")


def _at(entry: Entry) -> str:
    return f" at offset {entry.header}{_named(entry)}"


def _named(entry: Entry) -> str:
    return f" (entry {entry.name.decode('utf-8', 'backslashreplace')!r})"


def _read_header(block: bytes, position: int) -> tuple[Entry, int]:
    """The entry that a header block alone describes, and its size field.

    What is the same in most headers is read once and remembered as a whole: so one takes 8 us, not 20.
    """
    try:
        _check_sum(block)
        mode, uid, gid = _ids(block[100:124])
        major, minor, prefix = _extension(block[257:])
        name = block[:100].partition(b"\0")[0]
        entry = Entry(
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
    """The sum of all bytes, the checksum's own field taken as eight spaces.

    The low half of an Adler-32 is one more than the sum, as long as that is below 65,521, as that of 256 bytes
    always is. `sum(block)` takes four times as long.
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
    """Mode, user and group."""
    mode, uid, gid = (_number(fields[at : at + 8]) for at in (0, 8, 16))
    return mode & 0o7777, uid & 0xFFFF_FFFF, gid & 0xFFFF_FFFF


@lru_cache(1024)
def _extension(fields: bytes) -> tuple[int, int, bytes]:
    """What ustar and GNU have added to the old header: device numbers, and what to put before the name."""
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
    if not text.isdigit():
        raise ValueError(f"{field!r} is not an octal number")
    return int(text, 8)


@lru_cache(4096)
def _number(field: bytes) -> int:
    """Octal, or GNU's base-256 (two's complement, the top bit set), which must fit 64 bits."""
    if not field[0] & 0x80:
        return _octal(field)
    value = int.from_bytes(field, "big") & ~(1 << (8 * len(field) - 1))
    if field[0] & 0x40:
        value -= 1 << (8 * len(field) - 1)
    if not -(2**63) <= value <= _MAX_INT64:
        raise ValueError(f"{field!r} is a number beyond 64 bits")
    return value


def _signed_sum(block: bytes) -> int:
    """The checksum of old Sun tars, which took bytes as signed."""
    return sum(c - 256 if c > 127 else c for c in block[:148] + block[156:]) + 256


def _special(tar: Buffer, position: int, size: int, end: int, entry: Entry) -> tuple[bytes, int]:
    """The content of a header-like entry, and the position after it."""
    if not 0 <= size <= _MAX_SPECIAL:
        raise ArchiveError(f"extended header of {size} bytes at offset {entry.header} (at most {_MAX_SPECIAL})")
    if position + size > end:
        raise ArchiveError(f"the tar ends inside the extended header at offset {entry.header}")
    return bytes(tar[position : position + size]), position + size + -size % BLOCK


def _read_pax(data: bytes, entry: Entry, budget: _Budget) -> dict[bytes, bytes]:
    """PAX records ("%d %s=%s\\n"), those of sparse format 0.0 gathered into 0.1's `GNU.sparse.map`."""
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    at = count = 0
    try:
        while at < len(data):
            count += 1
            space = data.index(b" ", at)
            length = _decimal(data[at:space])
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


def _decimal(text: bytes) -> int:
    if not _DECIMAL.fullmatch(text):
        raise ValueError
    value = int(text)
    if not -(2**63) <= value <= _MAX_INT64:
        raise ValueError
    return value


def _pax_time(text: bytes) -> int:
    seconds, _, fraction = text.partition(b".")
    whole = _decimal(seconds) * 10**9
    if not fraction:
        return bound_time(whole)
    if not fraction.isdigit():
        raise ValueError
    part = int(fraction[:9].ljust(9, b"0"))
    return bound_time(whole - part if seconds.startswith(b"-") else whole + part)


def _merge_pax(entry: Entry, size: int, pax: dict[bytes, bytes]) -> int:
    """Puts PAX records into `entry` (Go's `mergePAX`), and returns the size, theirs if they state one."""
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
                entry.uid = _decimal(value) & 0xFFFF_FFFF
            elif key == b"gid":
                entry.gid = _decimal(value) & 0xFFFF_FFFF
            elif key == b"mtime":
                entry.mtime_ns = _pax_time(value)
            elif key in (b"atime", b"ctime"):
                _pax_time(value)
            elif key == b"size":
                size = _decimal(value)
    except ArchiveError:
        raise
    except ValueError:
        raise ArchiveError(
            f"PAX record {key.decode('utf-8', 'backslashreplace')} has the value {value[:40]!r} {_at(entry).lstrip()}"
        ) from None
    return size


def _add_xattr(entry: Entry, name: bytes, value: bytes) -> None:
    """Raises ArchiveError, where a kernel takes no such name or value."""
    if name.startswith(_TRUSTED):
        return
    if not 0 < len(name) <= MAX_XATTR_NAME:
        raise ArchiveError(f"an xattr with a name of {len(name)} bytes (1 to {MAX_XATTR_NAME}){_at(entry)}")
    if len(value) > MAX_XATTR:
        shown = repr(name.decode("utf-8", "backslashreplace"))
        raise ArchiveError(f"xattr {shown} has a value of {len(value)} bytes ({MAX_XATTR} at most){_at(entry)}")
    if entry.xattrs is None:
        entry.xattrs = {}
    elif len(entry.xattrs) == MAX_XATTRS:
        raise _beyond("xattrs", MAX_XATTRS, entry)
    entry.xattrs[name] = value


def _merge_sparse(tar: Buffer, entry: Entry, pax: dict[bytes, bytes], end: int, budget: _Budget) -> None:
    """Makes `entry` sparse where PAX records say so (formats 0.0, 0.1, 1.0)."""
    major, minor = pax.get(b"GNU.sparse.major", b""), pax.get(b"GNU.sparse.minor", b"")
    if (major, minor) == (b"1", b"0"):
        one_zero = True
    elif (major, minor) in ((b"0", b"0"), (b"0", b"1")) or (not major and not minor and pax.get(b"GNU.sparse.map")):
        one_zero = False
    else:
        return
    stored = entry.size
    try:
        entry.name = pax.get(b"GNU.sparse.name") or entry.name
        if size := pax.get(b"GNU.sparse.size") or pax.get(b"GNU.sparse.realsize"):
            entry.size = _decimal(size)
        if entry.size < 0 or b"\0" in entry.name:
            raise ValueError
        if one_zero:
            numbers, used = _sparse_map_in_content(tar, entry, min(stored, end - entry.offset), budget)
        else:
            numbers, used = _sparse_map_in_records(pax, entry, budget), 0
        reached = 0
        for at, length in zip(numbers[::2], numbers[1::2], strict=True):
            if at < reached or length < 0 or at + length > entry.size:
                raise ValueError
            reached = at + length
        if entry.kind in _HEADER_ONLY or sum(numbers[1::2]) != stored - used:
            raise ValueError
    except ArchiveError:
        raise
    except ValueError:
        raise ArchiveError(f"malformed sparse map{_at(entry)}") from None
    entry.sparse = fragments.pack(zip(numbers[::2], numbers[1::2], strict=True))
    entry.offset += used


def _sparse_map_in_records(pax: dict[bytes, bytes], entry: Entry, budget: _Budget) -> list[int]:
    count = _decimal(pax.get(b"GNU.sparse.numblocks", b""))
    text = pax.get(b"GNU.sparse.map", b"")
    if bool(text) + text.count(b",") != 2 * count:
        raise ValueError
    budget.take_fragments(count, entry)
    return _decimals(text) if text else []


def _sparse_map_in_content(tar: Buffer, entry: Entry, size: int, budget: _Budget) -> tuple[list[int], int]:
    """The numbers of a 1.0 map at the head of the content, and how many bytes it takes (whole blocks)."""
    text = bytearray()
    lines, wanted = 0, 1
    while lines < wanted:
        if len(text) + BLOCK > min(size, _MAX_SPECIAL):
            raise ValueError
        at = entry.offset + len(text)
        block = bytes(tar[at : at + BLOCK])
        text += block
        lines += block.count(b"\n")
        if wanted == 1 and lines:
            count = _decimal(bytes(text.partition(b"\n")[0]))
            if count < 0:
                raise ValueError
            budget.take_fragments(count, entry)
            wanted = 1 + 2 * count
    _, *numbers = bytes(text).split(b"\n", wanted)[:wanted]
    return _decimals(b",".join(numbers)) if numbers else [], len(text)


def _decimals(text: bytes) -> list[int]:
    """Numbers with commas between them."""
    if not _DECIMALS.fullmatch(text):
        raise ValueError
    numbers = [int(number) for number in text.split(b",")]
    if not -(2**63) <= min(numbers) <= max(numbers) <= _MAX_INT64:
        raise ValueError
    return numbers
