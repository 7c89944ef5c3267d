"""packages.json: what packages a root holds, and which of its files belong to none. Equal for equal roots.

Whatever stands in the root, this gives a report: what cannot be read has a line in `notes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from operator import attrgetter

from c2wtasks.errors import one_line
from c2wtasks.packages import distribution, readers
from c2wtasks.packages.distribution import Distribution
from c2wtasks.packages.listed import VERSION, Database, Listed, Report, Unowned
from c2wtasks.packages.model import Package, Unread
from c2wtasks.packages.modules import Module
from c2wtasks.packages.purl import purl
from c2wtasks.packages.reading import Layers, Reading, Remembered
from c2wtasks.packages.survey import Survey, survey
from c2wtasks.tree.lookup import lookup
from c2wtasks.tree.model import Inode

_OS_RELEASE = (b"etc/os-release", b"usr/lib/os-release")
_MAX_OS_RELEASE = 1 << 16
_DEPTH = 3  # of the folders in which files are counted
_MAX_FOLDERS = 1000
_MAX_NOTES, _MAX_NOTE = 100, 300
_NAME = attrgetter("name", "path")

_distributions = Remembered(64)


def report(root: Inode, layers: Layers) -> Report:
    """What packages the root has that these layers make.

    Raises LayerError, OutputError: a layer cannot be read.
    """
    reading = Reading(root, layers)
    notes: list[str] = []
    which = _distribution(reading)
    sections: list[tuple[str, readers.Section]] = []
    databases: list[Database] = []
    for reader, inode in readers.found(root):
        try:
            section = reader.read(reading, inode, reader)
        except Unread as refusal:
            notes.append(f"{_shown(reader.path)}: {refusal}")
            continue
        sections.append((reader.kind, section))
        databases.append(Database(reader.kind, _shown(reader.path), len(section.packages)))
    found = survey(reading, [section.listing for _, section in sections])
    notes += [f"{_shown(path)}: {refusal}" for path, refusal in found.listed.notes]
    if found.refused:
        notes.append(f"the files that databases list are not counted: {found.refused}")
    counts = found.counts
    packages: list[Listed] = []
    for (kind, section), files in zip(sections, counts.owned, strict=False):
        packages += map(partial(_of_database, kind, which), section.packages, section.layers, files)
    packages += _of_languages(found)
    return Report(
        VERSION,
        {"id": which.id, "version": which.version} if which.id else {},
        tuple(databases),
        tuple(_some(notes)),
        tuple(packages),
        tuple(_by_folder(counts.unowned)),
    )


def _distribution(reading: Reading) -> Distribution:
    """Raises LayerError, OutputError."""
    for path in _OS_RELEASE:
        try:
            inode = lookup(reading.root, path)
            if inode is not None:
                return _distributions.get(reading.key(inode), partial(_of_release, reading.anew(), inode))
        except (OSError, Unread):
            continue
    return Distribution()


def _of_release(reading: Reading, inode: Inode) -> Distribution:
    """Raises Unread, LayerError, OutputError."""
    return distribution.parse(reading.content(inode, _MAX_OS_RELEASE))


def _of_database(kind: str, which: Distribution, package: Package, layer: int | None, files: int) -> Listed:
    url = purl(kind, package, which)
    return Listed(kind, package.name, package.version, url, layer, files, package.architecture)


def _of_languages(found: Survey) -> Iterator[Listed]:
    """The packages of Python, then those of npm, each by name."""
    listed, counts = found.listed, found.counts
    of_python = counts.owned[-1] or [0] * len(listed.python)
    yield from sorted(map(partial(_of_language, "pypi"), listed.python, of_python), key=_NAME)
    npm = found.modules.npm
    yield from sorted(map(partial(_of_language, "npm"), npm.values(), map(counts.in_folders.get, npm)), key=_NAME)


@lru_cache(1 << 14)
def _of_language(kind: str, module: Module, files: int) -> Listed:
    package = module.package
    url = purl(kind, package, Distribution())
    return Listed(kind, package.name, package.version, url, module.layer, files, path=_shown(module.path))


def _by_folder(unowned: Mapping[bytes, int]) -> Iterator[Unowned]:
    """The counts of folders, each with those of what lies deeper than a few levels; fewer levels where that makes too
    many."""
    for depth in range(_DEPTH, -1, -1):
        found: Counter[bytes] = Counter()
        for path, files in unowned.items():
            found[b"/".join(path.split(b"/", depth)[:depth])] += files
        if len(found) <= _MAX_FOLDERS:
            break
    return (Unowned(_shown(path), files) for path, files in sorted(found.items()))


def _some(notes: list[str]) -> list[str]:
    """The notes, and of too many the first, with how many more there are."""
    if len(notes) > _MAX_NOTES:
        notes = [*notes[:_MAX_NOTES], f"and {len(notes) - _MAX_NOTES} more that cannot be read"]
    return [one_line(note, _MAX_NOTE) for note in notes]


def _shown(path: bytes) -> str:
    return "/" + path.decode("utf-8", "backslashreplace")
