"""One package in rpm's database, whichever that is: a header, without the magic that one in a file begins with.

How many entries there are and how many bytes they take (4 bytes each, greatest first), the entries (tag, type, where
its value begins, count), the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct, error

from c2wtasks.packages.model import File, Package, Unread, package

_HEAD, _ENTRY = Struct(">II"), Struct(">IIII")
_INT16, _INT32, _STRING, _STRINGS = 3, 4, 6, 8
NAME, VERSION, RELEASE, EPOCH, ARCH = 1000, 1001, 1002, 1003, 1022
FILE_MODES, FILE_FLAGS, DIR_INDEXES, BASE_NAMES, DIR_NAMES = 1030, 1037, 1116, 1117, 1118
_DIRECTORY, _KIND = 0o040000, 0o170000
_MAX_ENTRIES = 1 << 12
_PUBLIC_KEY = "gpg-pubkey"
"""What rpm keeps the keys as which it trusts: no package."""

Values = Mapping[int, tuple[int, int, int]]
"""Of each tag the type, where its value begins, and the count."""


def parse(header: bytes) -> tuple[Package, list[File]] | None:
    """The package that a header is of, and its files, but for directories; None for a key.

    Raises Unread.
    """
    try:
        return _parse(header)
    except (error, IndexError) as damage:
        raise Unread(f"a header is damaged: {damage}") from None


def _parse(header: bytes) -> tuple[Package, list[File]] | None:
    """Raises Unread, IndexError, struct.error."""
    count, size = _HEAD.unpack_from(header)
    start = _HEAD.size + count * _ENTRY.size
    if count > _MAX_ENTRIES or start + size > len(header):
        raise Unread("a header is damaged: it is too short for what it says")
    entries = _ENTRY.iter_unpack(header[_HEAD.size : start])
    values = {tag: (kind, start + offset, number) for tag, kind, offset, number in entries}
    name, version, release = (_string(header, values, tag) for tag in (NAME, VERSION, RELEASE))
    if name == _PUBLIC_KEY.encode():
        return None
    epoch = _numbers(header, values, EPOCH)
    whole = (f"{epoch[0]}:".encode() if epoch else b"") + version + (b"-" + release if release else b"")
    return package(name, whole, _string(header, values, ARCH)), _files(header, values)


def _files(header: bytes, values: Values) -> list[File]:
    """Raises Unread, IndexError, struct.error."""
    folders = [folder.strip(b"/") for folder in _strings(header, values, DIR_NAMES)]
    names, indexes = _strings(header, values, BASE_NAMES), _numbers(header, values, DIR_INDEXES)
    modes = _numbers(header, values, FILE_MODES)
    if len(indexes) != len(names) or any(index >= len(folders) for index in indexes):
        raise Unread("a header is damaged: files without a folder")
    if len(modes) != len(names):
        return [(folders[index], name) for name, index in zip(names, indexes, strict=True)]
    found = zip(names, indexes, modes, strict=True)
    return [(folders[index], name) for name, index, mode in found if mode & _KIND != _DIRECTORY]


def _string(header: bytes, values: Values, tag: int) -> bytes:
    """A text, "" where there is none. Raises Unread."""
    kind, at, _ = values.get(tag, (0, 0, 0))
    if kind != _STRING:
        return b""
    end = header.find(b"\0", at)
    if end < 0:
        raise Unread("a header is damaged: a text does not end")
    return header[at:end]


def _strings(header: bytes, values: Values, tag: int) -> list[bytes]:
    """Raises Unread."""
    kind, at, count = values.get(tag, (0, 0, 0))
    if kind != _STRINGS:
        return []
    if count > len(header) - at:
        raise Unread("a header is damaged: it is too short for what it says")
    found = header[at:].split(b"\0", count)
    if len(found) != count + 1:
        raise Unread("a header is damaged: a text does not end")
    return found[:count]


def _numbers(header: bytes, values: Values, tag: int) -> tuple[int, ...]:
    """Raises Unread, struct.error."""
    kind, at, count = values.get(tag, (0, 0, 0))
    letter, size = {_INT16: ("H", 2), _INT32: ("I", 4)}.get(kind, ("", 0))
    if not letter:
        return ()
    if count * size > len(header) - at:
        raise Unread("a header is damaged: it is too short for what it says")
    return Struct(f">{count}{letter}").unpack_from(header, at)
