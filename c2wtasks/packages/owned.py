"""Which files of a root belong to packages: counted for each package, and for each folder what belongs to none. Pure.

A root may have hundreds of thousands of files, and a catalog thousands of roots with the same packages. So what the
packages list is arranged once (`Listing`), and held against a root a folder at a time, by operations on whole sets of
names; what is missing is looked at one by one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from c2wtasks.packages.folders import Changes, Folder, look
from c2wtasks.packages.model import File, Unread
from c2wtasks.tree.folder import directory_at
from c2wtasks.tree.lookup import Steps, root_path
from c2wtasks.tree.model import Child, Inode

MAX_FILES = 5 << 17
"""The most files of all packages of a database: a root has no more names."""
_MAX_STEPS = 1 << 20
_Owners = int | tuple[int, ...]


class Names(NamedTuple):
    """What packages list in a folder: names, with the numbers of the packages of each; and those of them that are
    folders of the packages' files."""

    owners: dict[bytes, _Owners]
    folders: set[bytes]

    @property
    def ends(self) -> Set[bytes]:
        """The names that are no such folders."""
        return self.owners.keys() - self.folders


class Listing:
    """The files that packages list, by folder. `counts` says how many each lists, but for folders of others."""

    def __init__(self, files: Sequence[Sequence[File]]) -> None:
        """Raises Unread: they are too many."""
        if sum(map(len, files)) > MAX_FILES:
            raise Unread(f"its packages have more than {MAX_FILES} files")
        self.folders: dict[bytes, Names] = {}
        for number, own in enumerate(files):
            latest = None
            for folder, name in own:
                if folder != latest:  # as the next is mostly in the same
                    latest = folder
                    if folder not in self.folders:
                        self.folders[folder] = Names({}, set())
                    names = self.folders[folder].owners
                if name in names:
                    names[name] = (*_each(names[name]), number)
                else:
                    names[name] = number
        self.counts = [*map(len, files)]
        for path in self.folders:
            above, _, name = path.rpartition(b"/")
            if above in self.folders and name in self.folders[above].owners:
                self.folders[above].folders.add(name)
                for owner in _each(self.folders[above].owners[name]):
                    self.counts[owner] -= 1


def _each(owners: _Owners) -> tuple[int, ...]:
    return owners if isinstance(owners, tuple) else (owners,)


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


class _Taken(NamedTuple):
    """Names that a listing has in a folder, by its number, and that are no files there."""

    listing: int
    listed: Names
    names: Iterable[bytes]


class Counts(NamedTuple):
    """How many files of a root belong to what.

    `owned` is how many each package of each of the `listings` has, `in_folders` the same of packages that own whole
    folders, by their paths; `unowned` how many files in each folder belong to none. The rest is kept to tell of other
    roots: of each listing where its folders are that are not where they are listed; what was taken off the counts in
    each folder; and of each folder that a package owns the package's, with how many files are in it.
    """

    listings: Sequence[Listing]
    places: Sequence[Mapping[bytes, bytes | None]]
    owned: Sequence[list[int]]
    in_folders: dict[bytes, int]
    unowned: dict[bytes, int]
    taken: dict[bytes, Sequence[_Taken]]
    owners: dict[bytes, tuple[bytes, int]]

    def with_others(
        self, listings: Sequence[Listing], places: Sequence[Mapping[bytes, bytes | None]], fresh: Container[int]
    ) -> Counts:
        """The same, to be changed, with other listings where these are `fresh`, of which nothing is counted yet."""
        owned = [
            [*listing.counts] if number in fresh else [*self.owned[number]] for number, listing in enumerate(listings)
        ]
        numbers = self.in_folders.copy(), self.unowned.copy(), self.taken.copy(), self.owners.copy()
        return Counts(listings, places, owned, *numbers)

    def take(self, found: _Taken, by: int = -1) -> None:
        """Takes names off the counts of their packages."""
        owned = self.owned[found.listing]
        for name in found.names:
            for owner in _each(found.listed.owners[name]):
                owned[owner] += by

    def take_lost(self, number: int) -> None:
        """Takes off what a listing has in folders that are not there."""
        for path, place in self.places[number].items():
            if place is None:
                listed = self.listings[number].folders[path]
                self.take(_Taken(number, listed, listed.ends))

    def forget(self, path: bytes, fresh: Container[int]) -> None:
        """Takes back what was counted in a folder, but for listings that are `fresh`."""
        for found in self.taken.pop(path, ()):
            if found.listing not in fresh:
                self.take(found, 1)
        owner, files = self.owners.pop(path, (b"", 0))
        if owner:
            self.in_folders[owner] -= files
        else:
            self.unowned.pop(path, None)


def count(
    root: Inode, folders: Mapping[bytes, Folder], listings: Sequence[Listing], owners: Container[bytes]
) -> Counts:
    """Counts the files of the root, which has these `folders`: what `listings` list, and what lies in folders that
    belong to one package each, the `owners`.

    Raises OSError: links make that take too long.
    """
    places = _places(root, [listing.folders.keys() - folders.keys() for listing in listings])
    counts = Counts(listings, places, [[*listing.counts] for listing in listings], {}, {}, {}, {})
    for number in range(len(listings)):
        counts.take_lost(number)
    _add(counts, folders, owners)
    return counts


def recount(
    root: Inode, changed: Changes, listings: Sequence[Listing], owners: Container[bytes], before: Counts
) -> Counts | None:
    """The same of a root that has so `changed` from one with the counts `before`: only those folders are looked at,
    and those of listings that are others. None where that does not tell.

    Raises OSError: links make that take too long.
    """
    if len(listings) != len(before.listings):
        return None
    fresh = {number for number, listing in enumerate(listings) if listing is not before.listings[number]}
    again = {*changed.again}
    differing = [*changed.gone, *(path for path in changed.folders if path not in again)]
    kept = [(number, listing) for number, listing in enumerate(listings) if number not in fresh]
    if any(path in listing.folders for _, listing in kept for path in differing):
        return None
    lost = [_lost(root, one) if number in fresh else before.places[number] for number, one in enumerate(listings)]
    places = _places(root, lost)
    if any(places[number] != before.places[number] for number, _ in kept):
        return None
    if any((path in owners) != (path in before.in_folders) for path in again):  # which own what lies below, too
        return None
    counts = before.with_others(listings, places, fresh)
    moved: dict[bytes, Folder] = {}
    for number in fresh:
        for one in (before, counts):
            for path in {*one.listings[number].folders, *one.places[number].values()}:
                if path is not None and path not in changed.folders and (inode := directory_at(root, path)):
                    moved[path] = look(inode)
    for path in (*changed.again, *changed.gone, *moved):
        counts.forget(path, fresh)
    for path in changed.gone:
        counts.in_folders.pop(path, None)
    for number in fresh:
        counts.take_lost(number)
    _add(counts, dict(sorted((changed.folders | moved).items())), owners)
    return counts


def _lost(root: Inode, listing: Listing) -> Sequence[bytes]:
    """The folders of a listing that are not where they are listed."""
    return [path for path in listing.folders if directory_at(root, path) is None]


def _add(counts: Counts, folders: Mapping[bytes, Folder], owners: Container[bytes]) -> None:
    """Counts what is in these folders."""
    listed: dict[bytes, list[tuple[int, Names]]] = {}
    for number, (listing, places) in enumerate(zip(counts.listings, counts.places, strict=True)):
        for path in listing.folders.keys() & folders.keys():
            listed.setdefault(path, []).append((number, listing.folders[path]))
        for path, place in places.items():
            if place is not None and place in folders:
                listed.setdefault(place, []).append((number, listing.folders[path]))
    owned = counts.owners
    for path, (_, names, below) in folders.items():
        here = listed.get(path)
        left = files = len(names) - len(below)
        if here is None:
            pass
        elif not below and len(here) == 1 and (all_ := here[0][1].owners).keys() <= names.keys():  # as most are
            left -= len(all_)
        else:
            left, taken = _left(names, below, here)
            if taken:
                counts.taken[path] = taken
                for found in taken:
                    counts.take(found)
        if path in owners:
            owned[path] = path, files
            counts.in_folders[path] = counts.in_folders.get(path, 0) + files  # with folders below it that stay
        elif owned and (above := owned.get(path.rpartition(b"/")[0])) is not None:
            owned[path] = above[0], files
            counts.in_folders[above[0]] += files
        elif left:
            counts.unowned[path] = left


def _left(
    names: Mapping[bytes, Child], below: Sequence[bytes], here: Sequence[tuple[int, Names]]
) -> tuple[int, Sequence[_Taken]]:
    """How many files in a folder are not listed; and what is listed and not there, or a directory."""
    taken: list[_Taken] = []
    every: Set[bytes] = set()
    there = 0
    for number, listed in here:
        owners, folders = listed
        missing: Set[bytes] = set()
        if not owners.keys() <= names.keys():
            missing = owners.keys() - names.keys()
            taken.append(_Taken(number, listed, missing - folders))
        if len(here) == 1:
            every, there = owners.keys(), len(owners) - len(missing)
        else:
            every |= owners.keys()
        # a directory, with nothing of the packages in it:
        if below and (others := [name for name in below if name in owners and name not in folders]):
            taken.append(_Taken(number, listed, others))
    if len(here) > 1:
        there = len(every & names.keys())
    return len(names) - there - sum(name not in every for name in below), taken


def _places(root: Inode, listed: Sequence[Iterable[bytes]]) -> Sequence[Mapping[bytes, bytes | None]]:
    """Where the folders are that are not where they are `listed`, a mapping for each listing.

    Raises OSError: looking up takes too long.
    """
    steps = Steps(_MAX_STEPS)
    found = []
    for paths in listed:
        places = _Places(root, steps)
        found.append({path: places.of(path) for path in sorted(paths)})
    return found


class _Places:
    """Where folders are that are not where they are listed: links lead to others (`/bin` is `/usr/bin`)."""

    def __init__(self, root: Inode, steps: Steps) -> None:
        self._root = root
        self._steps = steps
        self._found: dict[bytes, bytes | None] = {}

    def of(self, path: bytes) -> bytes | None:
        """The path of the directory which `path` leads to; None where there is none. Raises OSError: looking up takes
        too long."""
        above, _, name = path.rpartition(b"/")
        if above not in self._found:
            self._found[above] = above if directory_at(self._root, above) is not None else self._resolved(above)
        place = self._found[above]
        self._found[path] = found = None if place is None else self._below(place, name)
        return found

    def _below(self, place: bytes, name: bytes) -> bytes | None:
        folder = directory_at(self._root, place)
        child = folder.names().get(name) if folder is not None else None
        if child is None:
            return None
        path = _joined(place, name)
        return path if isinstance(child, Inode) else self._resolved(path)

    def _resolved(self, path: bytes) -> bytes | None:
        self._steps.take(1 + path.count(b"/"))
        try:
            found = root_path(self._root, path, steps=self._steps)
        except OSError:  # a link that leads nowhere
            return None
        return found if directory_at(self._root, found) is not None else None
