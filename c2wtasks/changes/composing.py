"""What changed from A to B and from B to C, as what changed from A to C; and the way back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from msgspec.structs import replace

from c2wtasks.changes import fields, installed
from c2wtasks.changes.model import (
    MOST_FILES,
    Change,
    FieldChange,
    FileChange,
    Files,
    FolderCount,
    Installed,
    PackageChange,
)
from c2wtasks.changes.roots import by_folder


def compose(first: Change, second: Change) -> Change:
    """What both change, one after the other. Equal to what comes of comparing the first's old with the second's new,
    as far as all is listed."""
    return Change(
        bundle=second.bundle,
        before=first.before,
        after=second.after,
        size=(first.size[0], second.size[1]),
        layers=(first.layers[0], second.layers[1]),
        fields=_fields(first.fields, second.fields),
        packages=_packages(first.packages, second.packages),
        files=_files(first.files, second.files),
        unknown=tuple(dict.fromkeys((*first.unknown, *second.unknown))),
    )


class Composer:
    """Composes changes of many bundles: what several of them share is composed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Change] = {}

    def all(self, way: Sequence[Change]) -> Change:
        """What all of these change, one after the other."""
        found = way[0]
        names: tuple[str, ...] = (found.details,)
        for one in way[1:]:
            names = (*names, one.details)
            if not all(names):
                found = compose(found, one)
                continue
            if names not in self._known:
                self._known[names] = compose(found, one)
            known = self._known[names]
            bare = compose(replace(found, packages=(), files=Files()), replace(one, packages=(), files=Files()))
            found = replace(bare, packages=known.packages, files=known.files)
        return found


def inverse(change: Change) -> Change:
    """What leads back."""
    packages, files = change.packages, change.files
    ways = [(installed.key_of(one), one.new, one.old) for one in packages or ()]
    return Change(
        bundle=change.bundle,
        before=change.after,
        after=change.before,
        size=(change.size[1], change.size[0]),
        layers=(change.layers[1], change.layers[0]),
        fields=tuple(FieldChange(one.of, one.field, one.new, one.old) for one in change.fields),
        packages=None if packages is None else tuple(installed.changes(ways)),
        files=None if files is None else _back(files),
        unknown=change.unknown,
    )


def _back(files: Files) -> Files:
    return replace(
        files,
        added=files.removed,
        removed=files.added,
        listed=tuple(FileChange(one.path, one.new, one.old) for one in files.listed),
        folders=tuple(replace(one, added=one.removed, removed=one.added) for one in files.folders),
    )


def _fields(first: Iterable[FieldChange], second: Iterable[FieldChange]) -> tuple[FieldChange, ...]:
    found: dict[tuple[str, tuple[str, ...]], FieldChange] = {(one.of, one.field): one for one in first}
    for one in second:
        before = found.get((one.of, one.field))
        found[one.of, one.field] = one if before is None else FieldChange(one.of, one.field, before.old, one.new)
    return fields.in_order(one for one in found.values() if one.old != one.new)


def _packages(
    first: tuple[PackageChange, ...] | None, second: tuple[PackageChange, ...] | None
) -> tuple[PackageChange, ...] | None:
    if first is None or second is None:
        return None
    found: dict[installed.Key, tuple[Installed | None, Installed | None]] = {}
    for one in chain(first, second):
        key = installed.key_of(one)
        found[key] = (found[key][0] if key in found else one.old), one.new
    return tuple(installed.changes((key, old, new) for key, (old, new) in found.items() if old or new))


def _files(first: Files | None, second: Files | None) -> Files | None:
    if first is None or second is None:
        return None
    if not second.count:
        return replace(first, uncompared=first.uncompared + second.uncompared)
    if not first.count:
        return replace(second, uncompared=first.uncompared + second.uncompared)
    found: dict[str, FileChange] = {one.path: one for one in first.listed}
    for one in second.listed:
        before = found.get(one.path)
        found[one.path] = one if before is None else FileChange(one.path, before.old, one.new)
    listed = [found[path] for path in sorted(found) if _is_change(found[path])]
    uncompared = first.uncompared + second.uncompared
    if first.is_cut or second.is_cut:
        added, removed = first.added + second.added, first.removed + second.removed
        folders = _folders(first, second)
        changed = first.changed + second.changed
        return Files(added, removed, changed, tuple(listed[:MOST_FILES]), folders, uncompared, at_most=True)
    added, removed = sum(one.old is None for one in listed), sum(one.new is None for one in listed)
    folders = by_folder((one.path, sort_of(one)) for one in listed) if len(listed) > MOST_FILES else ()
    changed = len(listed) - added - removed
    return Files(added, removed, changed, tuple(listed[:MOST_FILES]), folders, uncompared)


def sort_of(one: FileChange) -> str:
    """How a path changed: `added`, `removed` or `changed`."""
    return "added" if one.old is None else "removed" if one.new is None else "changed"


def _is_change(one: FileChange) -> bool:
    """Two files of which a content is not known are never said to be equal."""
    if one.old != one.new:
        return True
    return one.old is not None and one.old.kind == "file" and one.old.size > 0 and not one.old.content


def _folders(*both: Files) -> tuple[FolderCount, ...]:
    sums: dict[str, list[int]] = {}
    for files in both:
        counted = files.folders or by_folder((one.path, sort_of(one)) for one in files.listed)
        for one in counted:
            found = sums.setdefault(one.folder, [0, 0, 0])
            for at, number in enumerate((one.added, one.removed, one.changed)):
                found[at] += number
    return tuple(FolderCount(folder, *found) for folder, found in sorted(sums.items()))
