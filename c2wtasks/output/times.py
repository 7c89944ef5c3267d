"""The mtimes of a bundle's own files: when their content was published. What copies only what looks changed
(`rsync -a`, `cp -u`, `aws s3 sync`, HTTP caches) goes by them and by the sizes.

They are noted in the bundle's private folder: those of all that is published, and those of the files of each form,
which may be made and not published yet. What has another mtime than is noted was not left so by us.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from c2wtasks.disk import files, safely
from c2wtasks.disk.holding import descriptor_of, held_if_there
from c2wtasks.output import record
from c2wtasks.output.places import FORM_PREFIX, RECORD, SUMS, TIMES_SUFFIX, Places

_HELD = 2_000_000_000  # nanoseconds: multiples of it every file system holds as they are, FAT too
_BESIDE = ".kept"

_TIMES = msgspec.json.Decoder(dict[str, int])


def note(path: str, folder: str, names: Iterable[str]) -> None:
    """Notes in the file `path` the mtimes (nanoseconds) that these files below `folder` have.

    Raises OSError, OutputError.
    """
    _note(path, {name: safely.lstat(f"{folder}/{name}").st_mtime_ns for name in sorted(names)})


def _note(path: str, times: Mapping[str, int]) -> None:
    files.remove_tree(path)  # so that its mode and owner, which count, too (`touched`), are those of a new file
    files.write(path, msgspec.json.encode(times))


def noted(path: str) -> dict[str, int]:
    """The mtimes (nanoseconds) that the file `path` notes, by name; none where it cannot be read."""
    try:
        return _TIMES.decode(safely.read(path, record.MAX_SIZE))
    except (OSError, ValueError, RecursionError):
        return {}


def _of_forms(places: Places) -> list[str]:
    names = files.names(places.parts)
    return [places.part(name) for name in names if name.startswith(FORM_PREFIX) and name.endswith(TIMES_SUFFIX)]


class Look(NamedTuple):
    """What a file is taken for, beside its content and its times."""

    mode: int
    uid: int
    gid: int
    size: int

    @classmethod
    def of(cls, found: os.stat_result) -> Look:
        """The look of a file that is there."""
        return cls(found.st_mode, found.st_uid, found.st_gid, found.st_size)


def keep(old: str, fresh: str, mtime_ns: int | None, is_same: Callable[[str], bool]) -> bool:
    """Puts the file `old` in the place of `fresh`, if it can be taken (`take`) for it. Tells whether it was.

    Raises OutputError.
    """
    beside = f"{os.path.dirname(fresh)}/{_BESIDE}"
    try:
        if take(old, beside, Look.of(safely.lstat(fresh)), mtime_ns, is_same):
            safely.rename(beside, fresh)
            return True
    except OSError:  # the fresh one does as well
        files.remove_tree(beside)
    return False


def take(old: str, name: str, look: Look, mtime_ns: int | None, is_same: Callable[[str], bool]) -> bool:
    """Gives the file `old` the name `name`, which nothing has, as a second one; where there are no hard links, it is
    that of a copy of the same mtime. This is done if `old` has the noted mtime and this `look`, and `is_same` says
    yes of it. Tells whether it was; else nothing has that name.

    Raises OutputError.
    """
    from c2wtasks.rootfs.writing.copying import link_file

    try:
        if mtime_ns is None or not _looks(old, look, mtime_ns):
            return False
        link_file(old, name)
        if _looks(name, look, mtime_ns) and is_same(name):  # it might have been replaced just now
            return True
    except OSError:  # a fresh one does as well
        pass
    files.remove_tree(name)
    return False


def _looks(path: str, look: Look, mtime_ns: int) -> bool:
    found = safely.lstat(path)
    return found.st_mtime_ns == mtime_ns and Look.of(found) == look


def stamp(new: str, published: str) -> dict[str, int]:
    """Gives the files of the folder `new`, which takes the place of `published` now, the time that it is; but not
    those which are published as they are. Gives the mtimes (nanoseconds) of all.

    A file is at least a second later than the one that it replaces, since HTTP and many tools count whole seconds.

    Raises OSError.
    """
    now = time.time_ns() // _HELD * _HELD
    found = {}
    with held_if_there(new, published):
        is_first = descriptor_of(published) is None and not safely.exists(published)
        for name in _own(new):
            path = f"{new}/{name}"
            fresh, old = safely.lstat(path), None if is_first else _state(f"{published}/{name}")
            found[name] = fresh.st_mtime_ns
            if old is None or (old.st_size, old.st_mtime_ns) != (fresh.st_size, fresh.st_mtime_ns):
                found[name] = now if old is None else max(now, old.st_mtime_ns // _HELD * _HELD + _HELD)
                safely.set_times(path, found[name])
    return found


def note_published(places: Places, stamped: Mapping[str, int]) -> None:
    """Notes the mtimes of all files of the bundle that was just published, as they were `stamped`, and of those that
    are kept of its forms, which are the same as a rule.

    Raises OSError, OutputError.
    """
    for path in _of_forms(places):
        if (of_form := noted(path).keys()) <= stamped.keys():
            folder = path.removesuffix(TIMES_SUFFIX)
            _note(path, {name: _kept(f"{folder}/{name}", stamped[name]) for name in of_form})
    _note(places.times, stamped)


def _kept(path: str, stamped: int) -> int:
    """Gives a file that is kept the mtime that its published name was stamped with, and gives that. A link has it
    already, but FUSE may say for a second what it was before, unless it is told by this name, too."""
    safely.set_times(path, stamped)
    return stamped


def _own(folder: str) -> set[str]:
    """The paths of a bundle's own files, but for those in its root; none where its record cannot be read."""
    ready = record.read(f"{folder}/{RECORD}")
    return {RECORD, SUMS, *ready.outputs} if ready is not None else set()


def _state(path: str) -> os.stat_result | None:
    try:
        return safely.lstat(path)
    except OSError:
        return None


def touched(path: str, folder: str) -> str | None:
    """The first of the files below `folder` that does not look as it was left, as the note `path` and its own mode
    and owner tell (a file system may have one mode for all files): its path, or that of the note."""
    times: Mapping[str, int] = noted(path)
    try:
        alike = safely.lstat(path)
        if not times:
            return path
        for name, mtime_ns in times.items():
            path = f"{folder}/{name}"
            found = safely.lstat(path)
            if (found.st_mode, found.st_uid, found.st_mtime_ns) != (alike.st_mode, alike.st_uid, mtime_ns):
                return path
    except OSError:
        return path
    return None
