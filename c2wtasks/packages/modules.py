"""Packages of Python and npm: each has a folder of its own, wherever in a root."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from c2wtasks.packages import npm, python
from c2wtasks.packages.model import File, Package, Unread
from c2wtasks.packages.owned import Folders, Listing
from c2wtasks.packages.reading import MAX_SMALL, Reading, Remembered
from c2wtasks.tree.model import FILE, Inode

_DESCRIPTION = b"package.json"
_EGG = b".egg-info"

_remembered = Remembered()
_listings = Remembered(16)


class Module(NamedTuple):
    """A package of a language: where it lies, and the number of the layer that brought what tells of it."""

    package: Package
    path: bytes
    layer: int | None


@dataclass(slots=True)
class Modules:
    """The packages of Python, with what they list, and those of npm, which own folders: their
    numbers, by path. `notes` says why others cannot be read."""

    python: list[Module] = field(default_factory=list)
    listing: Listing | None = None
    npm: list[Module] = field(default_factory=list)
    owners: dict[bytes, int] = field(default_factory=dict)
    notes: list[tuple[bytes, str]] = field(default_factory=list)


def find(reading: Reading, folders: Folders) -> Modules:
    """The packages of languages in a root, of which `folders` are the directories.

    Raises LayerError, OutputError.
    """
    found = Modules()
    lists: list[tuple[bytes, Inode | None]] = []
    for path, described, listed in _of_python(folders):
        one = _described(reading, path, described, min(described.size, python.HEAD), python.parse, found)
        if one is not None:
            found.python.append(one)
            lists.append((path, listed))
    if lists:
        found.listing = _listing(reading, lists, found)
    for path, folder in folders.items():
        if _DESCRIPTION in folder.names and npm.is_package(path) and (inode := folder.inode.child(_DESCRIPTION)):
            one = _described(reading, path, inode, inode.size, npm.parse, found)
            if one is not None:
                found.owners[path] = len(found.npm)
                found.npm.append(one)
    if found.npm:
        _inherit(folders, found.owners)
    return found


def _of_python(folders: Folders) -> Iterator[tuple[bytes, Inode, Inode | None]]:
    """Where packages of Python are: the path, what tells of it, and what lists its files, if anything does."""
    for path, folder in folders.items():
        if path.endswith((b".dist-info", _EGG)):
            suffix = path[path.rindex(b".") :]
            if described := folder.inode.child(python.METADATA[suffix]):
                yield path, described, folder.inode.child(python.FILES[suffix])
        elif path.endswith(b"-packages"):  # dist- or site-
            for name in folder.names:
                if name.endswith(_EGG) and name not in folder.below and (described := folder.inode.child(name)):
                    yield path + b"/" + name, described, None


def _described(
    reading: Reading, path: bytes, inode: Inode, size: int, parse: Callable[[bytes], Package], found: Modules
) -> Module | None:
    """The package that a file tells of; None where it tells of none, which is noted.

    Raises LayerError, OutputError.
    """
    content = inode.content
    try:
        if inode.kind != FILE:
            raise Unread("what tells of it is no regular file")
        if size > MAX_SMALL:
            raise Unread(f"what tells of it has more bytes than are read ({MAX_SMALL})")
        reading.count(size)
        key = parse, reading.key(inode)
        package = _remembered.get(key, lambda: parse(reading.layers.read(content, size) if content else b""))
    except Unread as refusal:
        found.notes.append((path, str(refusal)))
        return None
    return Module(package, path, content.layer if content else None)


def _listing(reading: Reading, lists: Sequence[tuple[bytes, Inode | None]], found: Modules) -> Listing | None:
    """What the packages of Python list. Raises LayerError, OutputError."""
    key = tuple((path, listed and reading.key(listed)) for path, listed in lists)
    try:
        listing, notes = _listings.get(key, partial(_arranged, reading.anew(), lists))
    except Unread as refusal:
        found.notes.append((b"", f"the files of Python's packages are not counted: {refusal}"))
        return None
    found.notes += notes
    return listing


def _arranged(
    reading: Reading, lists: Sequence[tuple[bytes, Inode | None]]
) -> tuple[Listing, list[tuple[bytes, str]]]:
    """Raises Unread, LayerError, OutputError."""
    files: list[list[File]] = []
    notes: list[tuple[bytes, str]] = []
    for path, inode in lists:
        files.append([])
        try:
            if inode is not None:
                content = reading.content(inode, MAX_SMALL)
                is_egg = path.endswith(_EGG)
                base = path if is_egg else path.rpartition(b"/")[0]
                files[-1] = (python.installed if is_egg else python.recorded)(content, base)
        except Unread as refusal:
            notes.append((path, f"its files are not counted: {refusal}"))
    return Listing(files), notes


def _inherit(folders: Folders, owners: dict[bytes, int]) -> None:
    """Gives folders without an owner that of the folder above them."""
    for path in folders:
        if path not in owners and (owner := owners.get(path.rpartition(b"/")[0])) is not None:
            owners[path] = owner
