"""Packages of Python and npm: each has a folder of its own, wherever in a root."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from c2wtasks.packages import npm, python
from c2wtasks.packages.folders import Changes, Folder
from c2wtasks.packages.model import File, Package, Unread
from c2wtasks.packages.owned import Listing
from c2wtasks.packages.reading import MAX_SMALL, Reading, Remembered
from c2wtasks.tree.model import FILE, Inode

_DESCRIPTION = b"package.json"
_EGG = b".egg-info"
_PYTHONS = (b".dist-info", _EGG, b"-packages")  # the last: dist- or site-
_PATH = attrgetter("path")

_remembered = Remembered()
_listings = Remembered(16)
_NONE = Listing(())

Notes = list[tuple[bytes, str]]
"""Paths, and what is wrong there."""


class Module(NamedTuple):
    """A package of a language: where it lies, and the number of the layer that brought what tells of it."""

    package: Package
    path: bytes
    layer: int | None


class Described(NamedTuple):
    """What tells of a package of Python, at a path: the package, or why it is not read; and what lists its files."""

    path: bytes
    said: Module | str
    listed: Inode | None


class Modules(NamedTuple):
    """The packages of languages in a root, by the folder that tells of them: those of Python; and of npm, which own
    that folder and all below it. `unread` says why more of npm's cannot be read; `size` is how many bytes tell of all
    of them, at most."""

    python: dict[bytes, Sequence[Described]]
    npm: dict[bytes, Module]
    unread: dict[bytes, str]
    size: int


NONE = Modules({}, {}, {}, 0)


def find(reading: Reading, changed: Changes, before: Modules) -> Modules:
    """The packages of languages in a root, where the one from which it has `changed` has those `before`.

    Raises LayerError, OutputError.
    """
    reading.count(before.size)
    pythons, npms, unread = before.python.copy(), before.npm.copy(), before.unread.copy()
    for path in (*changed.again, *changed.gone):
        pythons.pop(path, None)
        npms.pop(path, None)
        unread.pop(path, None)
    for path, folder in changed.folders.items():
        if path.endswith(_PYTHONS) and (found := tuple(_of_python(reading, path, folder))):
            pythons[path] = found
        if _DESCRIPTION in folder.names and npm.is_package(path) and (inode := folder.inode.child(_DESCRIPTION)):
            said = _described(reading, path, inode, inode.size, npm.parse)
            if isinstance(said, str):
                unread[path] = said
            else:
                npms[path] = said
    return Modules(pythons, npms, unread, reading.counted)


def _of_python(reading: Reading, path: bytes, folder: Folder) -> Iterator[Described]:
    """Raises LayerError, OutputError."""
    if path.endswith((b".dist-info", _EGG)):
        suffix = path[path.rindex(b".") :]
        if inode := folder.inode.child(python.METADATA[suffix]):
            said = _described(reading, path, inode, min(inode.size, python.HEAD), python.parse)
            yield Described(path, said, folder.inode.child(python.FILES[suffix]))
        return
    for name in folder.names:
        if name.endswith(_EGG) and name not in folder.below and (inode := folder.inode.child(name)):
            at = path + b"/" + name
            yield Described(at, _described(reading, at, inode, min(inode.size, python.HEAD), python.parse), None)


def _described(
    reading: Reading, path: bytes, inode: Inode, size: int, parse: Callable[[bytes], Package]
) -> Module | str:
    """The package that the first bytes of a file tell of, so many; or why it is not read.

    Raises LayerError, OutputError.
    """
    content = inode.content
    if inode.kind != FILE:
        return "what tells of it is no regular file"
    if size > MAX_SMALL:
        return f"what tells of it has more bytes than are read ({MAX_SMALL})"
    try:
        reading.count(size)
        key = parse, reading.key(inode)
        package = _remembered.get(key, lambda: parse(reading.layers.read(content, size) if content else b""))
    except Unread as refusal:
        return str(refusal)
    return Module(package, path, content.layer if content else None)


class Listed(NamedTuple):
    """The packages of Python, in the order of their paths, with the files that they list, or none where those are too
    many; and why others cannot be read."""

    python: list[Module]
    listing: Listing
    notes: Notes


def listed(reading: Reading, found: Modules) -> Listed:
    """What Python's packages list, and what cannot be read of all of them. Raises LayerError, OutputError."""
    pythons: list[Module] = []
    lists: list[tuple[bytes, Inode | None]] = []
    notes: Notes = []
    for one in sorted(chain(*found.python.values()), key=_PATH):
        if isinstance(one.said, str):
            notes.append((one.path, one.said))
        else:
            pythons.append(one.said)
            lists.append((one.path, one.listed))
    listing = _NONE
    if lists:
        key = tuple((path, inode and reading.key(inode)) for path, inode in lists)
        try:
            listing, more = _listings.get(key, partial(_arranged, reading.anew(), lists))
            notes += more
        except Unread as refusal:
            notes.append((b"", f"the files of Python's packages are not counted: {refusal}"))
    return Listed(pythons, listing, [*notes, *sorted(found.unread.items())])


def _arranged(reading: Reading, lists: Sequence[tuple[bytes, Inode | None]]) -> tuple[Listing, Notes]:
    """Raises Unread, LayerError, OutputError."""
    files: list[list[File]] = []
    notes: Notes = []
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
