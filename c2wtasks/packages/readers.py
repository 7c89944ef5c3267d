"""The databases of package managers that are looked for, a row each, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

from c2wtasks.packages import apk, brought, dpkg, rpmdb
from c2wtasks.packages.model import File, Package, Parsed, Unread
from c2wtasks.packages.owned import Listing
from c2wtasks.packages.reading import MAX_DATABASE, MAX_SMALL, Reading, Remembered
from c2wtasks.tree import model
from c2wtasks.tree.lookup import lookup
from c2wtasks.tree.model import DIRECTORY, Inode

_STATUS_SUFFIXES = (b".list", b".md5sums")


class Section(NamedTuple):
    """What a database says, arranged: `layers` are the numbers of those that brought the packages."""

    packages: Sequence[Package]
    layers: Sequence[int | None]
    listing: Listing


class Reader(NamedTuple):
    """A database, at a path in the root. `kind` is the type of its packages, as package URLs have it."""

    kind: str
    path: bytes
    read: Callable[[Reading, Inode, Reader], Section]
    parse: Callable[[bytes], Parsed]


_sections = Remembered(16)


def _file(reading: Reading, inode: Inode, reader: Reader) -> Section:
    """A database that is one file. Raises Unread, LayerError, OutputError."""
    content = inode.content
    below = tuple(reading.layers.diff_ids[: content.layer]) if content else ()

    def section() -> Section:
        parsed = reader.parse(reading.anew().content(inode, MAX_DATABASE))
        layer = content.layer if content else None
        layers = brought.layers(
            reading.anew(), parsed, layer, {one.path: one.parse for one in READERS if one.read is _file}
        )
        return Section(parsed.packages, layers, Listing(parsed.files))

    return _sections.get((reader.kind, below, reading.key(inode)), section)


def _dpkg(reading: Reading, inode: Inode, reader: Reader) -> Section:
    """dpkg's status, and what lies in `info` beside it. A list there is written when its package is unpacked, so it
    tells which layer brought that. Raises Unread, LayerError, OutputError."""
    info = _found(reading.root, b"var/lib/dpkg/info")
    if info is not None and info.kind != DIRECTORY:
        info = None
    names = info.names() if info is not None else {}

    def section() -> Section:
        own = reading.anew()
        return _with_lists(own, reader.parse(own.content(inode, MAX_DATABASE)).packages, info, inode)

    layer = inode.content.layer if inode.content else None
    return _sections.get((reader.kind, layer, reading.key(inode), *_folder_key(reading, names)), section)


def _with_lists(reading: Reading, packages: Sequence[Package], info: Inode | None, status: Inode) -> Section:
    files: list[Sequence[File]] = []
    layers: list[int | None] = []
    for one in packages:
        listed = None
        for name in dpkg.list_names(one):
            if info is not None and listed is None:
                listed = info.child(name + b".list")
        where = listed if listed is not None and listed.content is not None else status
        files.append(dpkg.listed(reading.content(listed, MAX_SMALL)) if listed is not None else ())
        layers.append(where.content.layer if where.content else None)
    return Section(packages, layers, Listing(files))


def _status_d(reading: Reading, inode: Inode, reader: Reader) -> Section:
    """`status.d`: a file a package, beside it one with its files. Raises Unread, LayerError, OutputError."""
    if inode.kind != DIRECTORY:
        raise Unread("it is no directory")

    def section() -> Section:
        own = reading.anew()
        packages: list[Package] = []
        files: list[Sequence[File]] = []
        layers: list[int | None] = []
        for name in sorted(inode.names()):
            if name.endswith(_STATUS_SUFFIXES) or (found := inode.child(name)) is None:
                continue
            sums = inode.child(name + b".md5sums")
            for one in reader.parse(own.content(found, MAX_SMALL)).packages:
                packages.append(one)
                files.append(dpkg.summed(own.content(sums, MAX_SMALL)) if sums is not None else ())
                layers.append(found.content.layer if found.content else None)
        return Section(packages, layers, Listing(files))

    return _sections.get((reader.kind, *_folder_key(reading, inode.names())), section)


def _folder_key(reading: Reading, names: dict[bytes, model.Child]) -> Iterator[Hashable]:
    """What tells the files in a folder from all others: where their contents lie, and in which layers."""
    yield tuple(names.items())
    latest = max(map(model.mark_of, names.values()), default=b"")
    yield tuple(reading.layers.diff_ids[: int.from_bytes(latest, "big") + 1])


def _status(content: bytes) -> Parsed:
    return Parsed(dpkg.packages(content), ())


def _berkeley(_content: bytes) -> Parsed:
    raise Unread("it is a Berkeley DB, which is not read: the packages in it are not listed")


def _found(root: Inode, path: bytes) -> Inode | None:
    """What lies at a path; None where nothing does, or links on the way lead nowhere."""
    try:
        return lookup(root, path)
    except OSError:
        return None


_RPM = (b"var/lib/rpm", b"usr/lib/sysimage/rpm", b"usr/share/rpm")
READERS = (
    Reader("deb", b"var/lib/dpkg/status", _dpkg, _status),
    Reader("deb", b"var/lib/dpkg/status.d", _status_d, _status),
    Reader("apk", b"lib/apk/db/installed", _file, apk.parse),
    Reader("apk", b"usr/lib/apk/db/installed", _file, apk.parse),
    *(Reader("rpm", folder + b"/rpmdb.sqlite", _file, rpmdb.parse_sqlite) for folder in _RPM),
    *(Reader("rpm", folder + b"/Packages.db", _file, rpmdb.parse_ndb) for folder in _RPM),
    *(Reader("rpm", folder + b"/Packages", _file, _berkeley) for folder in _RPM),
)


def found(root: Inode) -> Iterator[tuple[Reader, Inode]]:
    """The databases that a root has. One that has two names, as links lead to it, is given once."""
    seen: set[Hashable] = set()
    for reader in READERS:
        inode = _found(root, reader.path)
        if inode is None:
            continue
        key = id(inode) if inode.kind == DIRECTORY else inode.content or reader.path
        if key not in seen:
            seen.add(key)
            yield reader, inode
