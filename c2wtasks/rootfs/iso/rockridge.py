"""Rock Ridge (RRIP 1.12, IEEE P1282) on the System Use Sharing Protocol (SUSP 1.12): the entries that say what
ISO 9660 itself has no room for, and how they are spread over a record and the areas that continue it."""

from __future__ import annotations

from functools import lru_cache

from c2wtasks.rootfs.iso.records import BLOCK, SYSTEM_USE_ROOM, both
from c2wtasks.tree.model import DIRECTORY, FIFO, FILE

SHARING_PROTOCOL = b"SP\x07\x01\xbe\xef\x00"
_IDENTIFIER = b"IEEE_P1282"
_DESCRIPTOR = b"THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS"
_SOURCE = b"PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 SPECIFICATION."
EXTENSION_REFERENCE = (
    b"ER%c\x01%c%c%c\x01" % (8 + len(_IDENTIFIER + _DESCRIPTOR + _SOURCE), 10, len(_DESCRIPTOR), len(_SOURCE))
    + _IDENTIFIER
    + _DESCRIPTOR
    + _SOURCE
)

_CONTINUATION_SIZE = 28
_ENTRY_MAX = 255
ATTRIBUTES_SIZE = 56
"""The bytes of what `attributes` gives."""
_CONTINUE = 0x01
_NOTHING_MORE = (FILE, DIRECTORY, FIFO)
_CURRENT, _PARENT, _ROOT = 0x02, 0x04, 0x08
_NAME_PART = _ENTRY_MAX - 5
_LINUX_NAME_MAX = 253
_SPECIAL = {b".": _CURRENT, b"..": _PARENT}


def attributes(mode: int, links: int, uid: int, gid: int, serial: int, modified: bytes) -> bytes:
    """PX (4.1.1), `mode` with the type, names of one file having the same `serial`; and TF (4.1.6) with the time of
    modification. Linux takes the other times from the record's date."""
    return b"%b%bTF\x0c\x01\x02%b" % (_owned(mode, links, uid, gid), both(serial), modified)


@lru_cache(4096)
def _owned(mode: int, links: int, uid: int, gid: int) -> bytes:
    return b"PX\x2c\x01" + both(mode) + both(links) + both(uid) + both(gid)


def name(text: bytes) -> list[bytes]:
    """NM (4.1.4). Linux drops a part that makes a name longer than 253 bytes: so one part ends there."""
    if len(text) <= _NAME_PART:
        return [b"NM%c\x01\x00" % (5 + len(text)) + text]
    parts = [text[:_NAME_PART], text[_NAME_PART:_LINUX_NAME_MAX], text[_LINUX_NAME_MAX:]]
    parts = [part for part in parts if part]
    flags = [_CONTINUE] * (len(parts) - 1) + [0]
    return [b"NM%c\x01%c" % (5 + len(part), flag) + part for part, flag in zip(parts, flags, strict=True)]


def device(major: int, minor: int) -> bytes:
    """PN (4.1.2), with the major number in the high word as Linux wants it."""
    return b"PN\x14\x01" + both(major) + both(minor)


def short_size(kind: str, text: bytes) -> int:
    """How many bytes the attributes and the name of a file take, where that is all and a record has room for it, as
    of nearly all; else 0."""
    size = ATTRIBUTES_SIZE + 5 + len(text)
    return size + (size & 1) if kind in _NOTHING_MORE and size <= SYSTEM_USE_ROOM else 0


def symlink(target: bytes) -> list[bytes]:
    """SL (4.1.3). An empty component stands between two slashes and at the end, so that Linux gives back `target`
    byte for byte."""
    entries: list[bytes] = []
    area = bytearray()
    for flags, text in _components(target):
        while True:
            room = _ENTRY_MAX - 5 - 2 - len(area)
            if len(text) <= room:
                break
            if room > 0:
                area += bytes((flags | _CONTINUE, room)) + text[:room]
                text = text[room:]
            entries.append(b"SL%c\x01%c" % (5 + len(area), _CONTINUE) + area)
            area.clear()
        area += bytes((flags, len(text))) + text
    entries.append(b"SL%c\x01\x00" % (5 + len(area)) + area)
    return entries


def _components(target: bytes) -> list[tuple[int, bytes]]:
    """(flags, text) of each component of a path."""
    parts = target.split(b"/")
    root = [(_ROOT, b"")] if parts[0] == b"" else []
    if root:
        del parts[0]
        if parts == [b""]:  # the root alone
            return root
    return root + [(_SPECIAL[part], b"") if part in _SPECIAL else (0, part) for part in parts]


class Areas:
    """The continuation areas of a directory's records. Linux reads one only if it lies within one block.

    They lie from block `first` of the image on.
    """

    def __init__(self, first: int = 0) -> None:
        self.content = bytearray()
        self._first = first

    def spread(self, entries: list[bytes]) -> bytes:
        """What of `entries` stands in a record: all, or as many as fit and then a CE (SUSP 5.1) that leads to the
        rest, which is put here. It has an even length.
        """
        here = b"".join(entries)
        if len(here) > SYSTEM_USE_ROOM:
            here, rest = _fitting(entries, SYSTEM_USE_ROOM - _CONTINUATION_SIZE)
            here += self._continued(rest)
        return here + b"\0" if len(here) & 1 else here

    def _continued(self, entries: list[bytes]) -> bytes:
        """Puts `entries` here; gives the CE that leads to them."""
        content = self.content
        size = sum(map(len, entries))
        if size > BLOCK - len(content) % BLOCK:
            content += bytes(-len(content) % BLOCK)
        start = len(content)
        if size <= BLOCK:
            content += b"".join(entries)
        else:
            here, rest = _fitting(entries, BLOCK - _CONTINUATION_SIZE)
            size = len(here) + _CONTINUATION_SIZE
            content += here.ljust(BLOCK, b"\0")
            content[start + len(here) : start + size] = self._continued(rest)
        return b"CE\x1c\x01" + both(self._first + start // BLOCK) + both(start % BLOCK) + both(size)


def _fitting(entries: list[bytes], room: int) -> tuple[bytes, list[bytes]]:
    """The entries at the beginning that fit in `room` bytes, and the others."""
    count = 0
    while count < len(entries) and len(entries[count]) <= room:
        room -= len(entries[count])
        count += 1
    return b"".join(entries[:count]), entries[count:]
