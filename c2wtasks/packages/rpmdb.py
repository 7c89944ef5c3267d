"""rpm's databases as files: SQLite's (`rpmdb.sqlite`) and rpm's own (`Packages.db`, ndb). Both hold a header for each
package; what else is in them is for looking up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct

from c2wtasks.packages import rpmheader, sqlite
from c2wtasks.packages.model import File, Package, Parsed, Unread, check_count

_NDB_HEAD, _SLOT, _BLOB = Struct("<4sIII"), Struct("<4sIII"), Struct("<4sIII")
_PAGE, _BLOCK = 4096, 16
_FIRST_SLOT = 32


def parse_sqlite(content: bytes) -> Parsed:
    """The packages in an `rpmdb.sqlite`, and their files.

    Raises Unread.
    """
    return _parsed(sqlite.blobs(content, b"Packages"))


def parse_ndb(content: bytes) -> Parsed:
    """The packages in a `Packages.db`, and their files.

    Raises Unread.
    """
    return _parsed(_ndb_blobs(content))


def _parsed(headers: Iterable[bytes]) -> Parsed:
    packages: list[Package] = []
    files: list[list[File]] = []
    for header in headers:
        if (found := rpmheader.parse(header)) is not None:
            packages.append(found[0])
            files.append(found[1])
            check_count(len(packages))
    return Parsed(packages, files)


def _ndb_blobs(content: bytes) -> Iterator[bytes]:
    """The headers of the packages, in the order of their numbers. Pages of slots come first: each slot says where the
    header of a package lies, or that it is free.

    Raises Unread.
    """
    if len(content) < _PAGE:
        raise Unread("it is too short for a database of rpm's")
    magic, version, _, pages = _NDB_HEAD.unpack_from(content)
    if magic != b"RpmP" or version != 0:
        raise Unread("it is no database of rpm's, or of a version that is not known")
    end = pages * _PAGE
    if end > len(content):
        raise Unread("it is damaged: it is too short for its slots")
    slots: list[tuple[int, int]] = []
    for slot, number, at, _ in _SLOT.iter_unpack(content[_FIRST_SLOT:end]):
        if slot != b"Slot":
            raise Unread("it is damaged: a slot is none")
        if number:
            slots.append((number, at * _BLOCK))
    left = len(content)
    for number, at in sorted(slots):
        if at + _BLOB.size > len(content):
            raise Unread("it is damaged: a package lies behind its end")
        blob, of, _, size = _BLOB.unpack_from(content, at)
        left -= size
        if blob != b"BlbS" or of != number or at + _BLOB.size + size > len(content) or left < 0:
            raise Unread("it is damaged: a package is not where it should be")
        yield content[at + _BLOB.size : at + _BLOB.size + size]
