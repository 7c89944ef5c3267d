"""The identifiers of ISO 9660: what a file is called for readers that know no Rock Ridge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_STEM, _EXTENSION = 8, 3
KEY = _STEM + _EXTENSION
_NUMBER = 4
_LONGEST = len(b"ABCDEFGH.EXT;1")
_D_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_MAPPED = bytes(c if c in _D_CHARACTERS else ord("_") for c in bytes(range(256)).upper())


def keys(names: Iterable[tuple[bytes, bool]]) -> bytearray:
    """For each name in one directory, and whether it is a directory's, its identifier as 8 + 3 d-characters filled up
    with spaces, one after the other. All differ, and their byte order is the one that records must have (ECMA-119,
    9.3).

    They stay within interchange level 1. Of names that would be alike all but the first get a number.
    """
    taken: set[bytes] = set()
    made = bytearray()
    number = 0
    for name, is_directory in names:
        key = _key(name, is_directory)
        while key in taken:  # each taken key ends in one number at most, so all this is linear
            number += 1
            digits = b"_%X" % number
            stem = key[:_STEM].rstrip()[: _STEM - len(digits)] + digits
            key = stem.ljust(_STEM) + key[_STEM:]
        taken.add(key)
        made += key
    return made


def in_order(keys: bytearray) -> Iterator[tuple[bytes, int]]:
    """Each of the keys and its number, in byte order. (Pairs to be sorted would take twice as much memory.)"""
    packed = bytes(keys)
    numbered = [packed[at * KEY : (at + 1) * KEY] + at.to_bytes(_NUMBER, "big") for at in range(len(keys) // KEY)]
    numbered.sort()
    for one in numbered:
        yield one[:KEY], int.from_bytes(one[KEY:], "big")


def identifier(key: bytes, is_directory: bool) -> bytes:
    """A key as it stands in a record: `ETC`, `MOTD.;1`, `INITTAB.BAK;1`."""
    stem = key[:_STEM].rstrip()
    return stem if is_directory else b"%b.%b;1" % (stem, key[_STEM:].rstrip())


class Identifiers:
    """Many identifiers in one piece, 15 bytes each: objects take four times as much."""

    def __init__(self) -> None:
        self._packed = bytearray()

    def append(self, name: bytes) -> None:
        """Adds a name of at most 14 bytes."""
        self._packed += b"%c%b" % (len(name), name.ljust(_LONGEST, b"\0"))

    def __getitem__(self, number: int) -> bytes:
        at = number * (_LONGEST + 1)
        return bytes(self._packed[at + 1 : at + 1 + self._packed[at]])


def _key(name: bytes, is_directory: bool) -> bytes:
    stem, _, extension = name.rpartition(b".")
    if is_directory or not stem:  # no dot, or nothing but an extension, as in .profile
        stem, extension = name, b""
    return stem[:_STEM].translate(_MAPPED).ljust(_STEM) + extension[:_EXTENSION].translate(_MAPPED).ljust(_EXTENSION)
