"""What stands published, as far as it can be trusted: what is unchanged of it need not be made again."""

from __future__ import annotations

import os

import msgspec

from c2wtasks.disk import files, fingerprint, safely
from c2wtasks.errors import OutputError
from c2wtasks.output import record
from c2wtasks.output.places import Places
from c2wtasks.output.record import RootfsFacts
from c2wtasks.rootfs.writing.copying import link_file
from c2wtasks.tree import treefile
from c2wtasks.tree.treefile import TreeFile

_IDENTITIES = msgspec.json.Decoder(list[int])
_MAX_IDENTITY = 100  # bytes


def identity(folder: str) -> list[int]:
    """What changes when a folder is replaced, or when something is put in or taken out; [] where there is none."""
    try:
        found = os.lstat(folder)
    except OSError:
        return []
    return [found.st_ino, found.st_mtime_ns]


def note(places: Places) -> None:
    """Remembers the published folder, whose root has the tree in `places.tree`.

    Where that cannot be noted (the disk is full, say), what comes next is made anew.
    """
    try:
        files.remove_tree(places.standing)
        if not _is_same(places.tree, places.standing_tree):
            files.remove_tree(places.standing_tree)
            link_file(places.tree, places.standing_tree)
        files.write(places.standing, msgspec.json.encode(identity(places.published)))
    except (OSError, OutputError):
        pass


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samestat(safely.lstat(one), safely.lstat(other))
    except FileNotFoundError:
        return False


def is_noted(places: Places) -> bool:
    """Whether the published folder is, as far as its own entry tells, the one that was noted."""
    try:
        return _IDENTITIES.decode(safely.read(places.standing, _MAX_IDENTITY)) == identity(places.published)
    except (OSError, ValueError):
        return False


def root(places: Places) -> tuple[TreeFile, RootfsFacts, str] | None:
    """The published root, if it is a folder: its tree, what is recorded of it, and its path. None unless the bundle
    is the one that was noted, and its record fits."""
    published = record.read(places.record)
    if published is None or published.rootfs is None or not is_noted(places):
        return None
    try:
        content = safely.read(places.standing_tree, treefile.MAX_SIZE)
        if fingerprint.of_bytes(content) != published.rootfs.tree:
            return None
        return treefile.decode(content), published.rootfs, places.output(published.folder)
    except (OSError, ValueError):
        return None
