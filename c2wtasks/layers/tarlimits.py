"""What an entry of a tar may have, and the error for what cannot be read.

It is limited, so that a few bytes of a compressed layer cannot make much of our memory or time: by what a kernel
takes, and where that says nothing by far more than any image has.
"""

from __future__ import annotations

from c2wtasks.layers.entry import TarEntry

MAX_SPECIAL = 1 << 20
"""Bytes of an extended header, and of the map of a sparse file."""
MAX_PATH = 4096
"""Bytes of a name or of a link's target."""
MAX_XATTR_NAME, MAX_XATTR = 255, 65536
"""Bytes of an xattr's name, and of its value; a kernel takes no more."""
MAX_XATTRS = 1024
"""Xattrs of an entry."""
MAX_FRAGMENTS = 1 << 18
"""Fragments of all sparse files in a layer."""
MAX_RECORDS = 1_000_000
"""PAX records in a layer, beyond _USUAL_RECORDS for each header."""
_USUAL_RECORDS = 16
_LINKS = frozenset("12")


class ArchiveError(ValueError):
    """The archive cannot be read. `str()` names the offset and, where it is known, the entry."""


class Budget:
    """What a layer may still have of what makes much work or memory of few bytes."""

    __slots__ = ("_fragments", "_records")

    def __init__(self) -> None:
        self._fragments, self._records = MAX_FRAGMENTS, MAX_RECORDS

    def take_fragments(self, count: int, entry: TarEntry) -> None:
        """Counts fragments of a sparse file. Raises ArchiveError: they are too many."""
        self._fragments -= count
        if self._fragments < 0:
            raise beyond("fragments of sparse files in one layer", MAX_FRAGMENTS, entry)

    def take_records(self, count: int, entry: TarEntry) -> None:
        """Counts the PAX records of one header. Raises ArchiveError: they are too many."""
        self._records -= max(0, count - _USUAL_RECORDS)
        if self._records < 0:
            raise beyond("PAX records in one layer", MAX_RECORDS, entry)


def beyond(what: str, limit: int, entry: TarEntry) -> ArchiveError:
    """The error of an entry with which there are more than `limit` of `what`."""
    return ArchiveError(f"more {what} than are read ({limit}){where(entry)}")


def check_lengths(entry: TarEntry) -> None:
    """Raises ArchiveError: the name or a link's target is too long. What is no link loses a target that is."""
    if len(entry.name) > MAX_PATH:
        raise ArchiveError(f"a name of {len(entry.name)} bytes ({MAX_PATH} at most){where(entry)}")
    if len(entry.target) > MAX_PATH:
        if entry.kind not in _LINKS:
            entry.target = b""
            return
        raise ArchiveError(f"a link target of {len(entry.target)} bytes ({MAX_PATH} at most){where(entry)}")


def where(entry: TarEntry) -> str:
    """Where an entry is, as the end of a message: its offset (bytes) in the tar, and its name."""
    return f" at offset {entry.header}{named(entry)}"


def named(entry: TarEntry) -> str:
    """The name of an entry, as the end of a message."""
    return f" (entry {entry.name.decode('utf-8', 'backslashreplace')!r})"
