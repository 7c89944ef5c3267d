"""Which files of a root belong to packages: counted for each package, and for each folder what belongs to none. Pure.

A root may have hundreds of thousands of files, and a catalog thousands of roots with the same packages. So what the
packages list is arranged once (`Listing`), and held against a root a folder at a time, by operations on whole sets of
names; what is missing is looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from c2wtasks.packages.model import File, Unread
from c2wtasks.tree.lookup import Steps, root_path
from c2wtasks.tree.model import DIRECTORY, Child, Inode

MAX_FILES = 5 << 17
"""The most files of all packages of a database: a root has no more names."""
_MAX_STEPS = 1 << 20
_Owners = int | tuple[int, ...]


class Names(NamedTuple):
    """What packages list in a folder: all names, those of them that are no folders of the packages' files, and the
    numbers of the packages of each."""

    all: frozenset[bytes]
    ends: frozenset[bytes]
    owners: Mapping[bytes, _Owners]


class Listing:
    """The files that packages list, by folder. `counts` says how many each lists, but for folders of others."""

    def __init__(self, files: Sequence[Sequence[File]]) -> None:
        """Raises Unread: they are too many."""
        if sum(map(len, files)) > MAX_FILES:
            raise Unread(f"its packages have more than {MAX_FILES} files")
        found: dict[bytes, dict[bytes, _Owners]] = {}
        for number, own in enumerate(files):
            for folder, name in own:
                names = found.get(folder)
                if names is None:
                    names = found[folder] = {}
                before = names.get(name)
                names[name] = number if before is None else (*_each(before), number)
        self.folders: dict[bytes, Names] = {}
        self.counts = [0] * len(files)
        for folder, names in found.items():
            ends = frozenset(name for name in names if _joined(folder, name) not in found)
            self.folders[folder] = Names(frozenset(names), ends, names)
            for name in ends:
                for owner in _each(names[name]):
                    self.counts[owner] += 1


def _each(owners: _Owners) -> tuple[int, ...]:
    return owners if isinstance(owners, tuple) else (owners,)


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


class Folder(NamedTuple):
    """A directory of a root: itself, and which of its names are directories."""

    inode: Inode
    names: dict[bytes, Child]
    below: list[bytes]


Folders = dict[bytes, Folder]
"""All directories of a root, by path, each after the one above it."""


def folders_of(root: Inode) -> Folders:
    """The directories of a root."""
    found: Folders = {}
    left = [(b"", root)]
    while left:
        path, inode = left.pop()
        names = inode.names()
        below = [name for name, child in names.items() if child.__class__ is Inode and child.kind == DIRECTORY]
        found[path] = Folder(inode, names, below)
        if below:
            prefix = path + b"/" if path else b""
            left += [(prefix + name, names[name]) for name in below]  # type: ignore[misc]
    return found


class Counts(NamedTuple):
    """`owned` is how many files each package of each listing has in the root, `in_folders` the same of packages that
    own whole folders; `unowned` how many files in each folder belong to none."""

    owned: list[list[int]]
    in_folders: list[int]
    unowned: dict[bytes, int]


def count(root: Inode, folders: Folders, listings: Sequence[Listing], owners: Mapping[bytes, int]) -> Counts:
    """Counts the files of the root, of which `folders` are the directories: what `listings` list, and what lies in
    folders that belong to one package each, by the numbers of these `owners`.

    Raises OSError: links make that take too long.
    """
    counts = Counts([[*listing.counts] for listing in listings], [0] * (max(owners.values(), default=-1) + 1), {})
    listed: dict[bytes, list[tuple[Names, list[int]]]] = {}
    steps = Steps(_MAX_STEPS)
    for listing, owned in zip(listings, counts.owned, strict=True):
        for path in listing.folders.keys() & folders.keys():
            listed.setdefault(path, []).append((listing.folders[path], owned))
        where = _Places(root, folders, steps)
        for path in sorted(listing.folders.keys() - folders.keys()):
            place = where.of(path)
            if place is None:
                _take(listing.folders[path], owned, listing.folders[path].ends)
            else:
                listed.setdefault(place, []).append((listing.folders[path], owned))
    for path, folder in folders.items():
        names, below = folder.names, folder.below
        here = listed.get(path)
        left = len(names) - len(below) if here is None else _left(names, below, here)
        if path in owners:
            counts.in_folders[owners[path]] += len(names) - len(below)
        elif left:
            counts.unowned[path] = left
    return counts


def _left(names: dict[bytes, Child], below: list[bytes], here: Sequence[tuple[Names, list[int]]]) -> int:
    """How many files in a folder are not listed. What is listed and not there, or a directory, is taken off the
    counts of its packages."""
    for listed, owned in here:
        if missing := listed.all.difference(names):
            _take(listed, owned, missing & listed.ends)
        if below and not listed.ends.isdisjoint(below):  # a directory, with nothing of the packages in it
            _take(listed, owned, listed.ends.intersection(below) - missing)
    whole = here[0][0].all if len(here) == 1 else frozenset().union(*(listed.all for listed, _ in here))
    left = len(names) - len(whole) + len(missing if len(here) == 1 else whole.difference(names))
    return left - sum(name not in whole for name in below) if left else 0


def _take(listed: Names, owned: list[int], names: Iterable[bytes]) -> None:
    """Takes names of a folder off the counts of their packages."""
    for name in names:
        for owner in _each(listed.owners[name]):
            owned[owner] -= 1


class _Places:
    """Where folders are that are not where they are listed: links lead to others (`/bin` is `/usr/bin`)."""

    def __init__(self, root: Inode, folders: Folders, steps: Steps) -> None:
        self._root = root
        self._folders = folders
        self._steps = steps
        self._found: dict[bytes, bytes | None] = {}

    def of(self, path: bytes) -> bytes | None:
        """The path of the directory which `path` leads to; None where there is none. Raises OSError: looking up takes
        too long."""
        above, _, name = path.rpartition(b"/")
        if above not in self._folders and above not in self._found:
            self._found[above] = self._resolved(above)
        place = above if above in self._folders else self._found[above]
        self._found[path] = found = None if place is None else self._below(place, name)
        return found

    def _below(self, place: bytes, name: bytes) -> bytes | None:
        path = _joined(place, name)
        if path in self._folders:
            return path
        return self._resolved(path) if name in self._folders[place].names else None

    def _resolved(self, path: bytes) -> bytes | None:
        self._steps.take(1 + path.count(b"/"))
        try:
            found = root_path(self._root, path, steps=self._steps)
        except OSError:  # a link that leads nowhere
            return None
        return found if found in self._folders else None
