"""Databases of packages for tests: rpm's headers and what holds them; and reports on roots of a few layers."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from c2wtasks.layers import content as contents
from c2wtasks.layers import fragments
from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.packages import rpmheader
from c2wtasks.packages.listed import Report
from c2wtasks.packages.report import report
from c2wtasks.tree import model
from c2wtasks.tree.apply import apply
from c2wtasks.tree.model import Content
from tests.support.images import digest_of
from tests.support.tars import Tree, tar


class InMemory:
    """Layers of which the tars are in memory. Counts how often it was asked for a content."""

    def __init__(self, tars: Sequence[bytes]) -> None:
        self.tars = tars
        self.diff_ids = [digest_of(one) for one in tars]
        self.reads = 0

    def read(self, content: Content, size: int) -> bytes:
        self.reads += 1
        stream, found = BytesIO(self.tars[content.layer]), bytearray(size)
        stream.seek(content.offset)
        for at, length in ((0, size),) if content.sparse is None else fragments.unpack(content.sparse):
            if stream.readinto(memoryview(found)[at : at + length]) != length:
                raise OSError(contents.TOO_SHORT)
        return bytes(found)

    def entries(self, layer: int) -> Iterator[TarEntry]:
        yield from read_entries(self.tars[layer])


def report_of(*layers: Tree | bytes, held: list[InMemory] | None = None) -> Report:
    """The report on the root that these layers make, of files or as tars."""
    found = InMemory([one if isinstance(one, bytes) else tar(one) for one in layers])
    if held is not None:
        held.append(found)
    root = model.new_directory()
    for number, one in enumerate(found.tars):
        apply(root, read_entries(one), number)
    return report(root, found)


Value = str | int | Sequence[str] | Sequence[int]


def header(fields: Mapping[int, Value]) -> bytes:
    """A header of rpm's with these values by tag: a text, a list of texts, a number or numbers."""
    entries, store = b"", b""
    for tag, value in sorted(fields.items()):
        if isinstance(value, int):
            value = [value]
        if isinstance(value, str):
            kind, count, packed = 6, 1, value.encode() + b"\0"
        elif value and isinstance(value[0], int):
            is_short = tag == rpmheader.FILE_MODES
            kind, count = (3 if is_short else 4), len(value)
            packed = struct.pack(f">{count}{'H' if is_short else 'I'}", *value)
            store += bytes(-len(store) % 4)
        else:
            kind, count, packed = 8, len(value), b"".join(str(one).encode() + b"\0" for one in value)
        entries += struct.pack(">IIII", tag, kind, len(store), count)
        store += packed
    return struct.pack(">II", len(fields), len(store)) + entries + store


def rpm(name: str, version: str, release: str, arch: str = "x86_64", **more: Value) -> bytes:
    """The header of a package with two files and a directory; `more` by the names of `rpmheader`."""
    fields: dict[int, Value] = {
        rpmheader.NAME: name,
        rpmheader.VERSION: version,
        rpmheader.RELEASE: release,
        rpmheader.ARCH: arch,
        rpmheader.DIR_NAMES: ["/usr/bin/", "/usr/share/"],
        rpmheader.BASE_NAMES: [name, name, "doc"],
        rpmheader.DIR_INDEXES: [0, 1, 1],
        rpmheader.FILE_MODES: [0o100755, 0o40755, 0o100644],
    }
    return header(fields | {getattr(rpmheader, key): value for key, value in more.items()})


def sqlite_of(folder: Path, headers: Sequence[bytes], *, page_size: int = 4096, table: str = "Packages") -> bytes:
    """An rpmdb.sqlite, written by SQLite itself."""
    path = folder / "made.sqlite"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA page_size = {page_size}")
        database.execute("CREATE TABLE 'Name' (key TEXT NOT NULL, hnum INTEGER NOT NULL)")
        database.execute(f"CREATE TABLE '{table}' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        database.executemany(f"INSERT INTO '{table}' (blob) VALUES (?)", [(one,) for one in headers])
    database.close()
    return path.read_bytes()


def ndb_of(headers: Sequence[bytes]) -> bytes:
    """A Packages.db as rpm's ndb writes it, with one page of slots."""
    slots, blobs = b"", b""
    for number, one in enumerate(headers, start=1):
        size = 16 + len(one) + 12
        blocks = -(-size // 16)
        at = 4096 + len(blobs)
        slots += struct.pack("<4sIII", b"Slot", number, at // 16, blocks)
        head = struct.pack("<4sIII", b"BlbS", number, 1, len(one))
        padded = one + bytes(blocks * 16 - size)
        blobs += (
            head + padded + struct.pack("<I", zlib.adler32(head + padded)) + struct.pack("<I4s", len(one), b"BlbE")
        )
    free = struct.pack("<4sIII", b"Slot", 0, 0, 0)
    pages = struct.pack("<4sIIIIIII", b"RpmP", 0, 1, 1, len(headers) + 1, 0, 0, 0) + slots
    return pages + free * ((4096 - len(pages)) // 16) + blobs
