"""What stands published, as far as it can be trusted: what is unchanged of it need not be made again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from c2wtasks.disk import files, fingerprint, safely
from c2wtasks.disk.holding import held_if_there
from c2wtasks.errors import OutputError
from c2wtasks.output import record
from c2wtasks.output.places import Places
from c2wtasks.output.record import RootfsFacts

if TYPE_CHECKING:
    from c2wtasks.tree.treefile import TreeFile

_NOTES = msgspec.json.Decoder(list[int])
_MAX_NOTE = 100  # bytes
_SHARES = 1
"""Ends the note of a folder whose root shares its files with other roots."""


def identity(folder: str) -> list[int]:
    """What changes when a folder is replaced, or when something is put in or taken out; [] where there is none."""
    try:
        found = os.lstat(folder)
    except OSError:
        return []
    return [found.st_ino, found.st_mtime_ns]


def note(places: Places, *, shares: bool = False) -> None:
    """Remembers the published folder, whose root has the tree in `places.tree`, and `shares` its files with others.

    Where that cannot be noted (the disk is full, say), what comes next is made anew.
    """
    from c2wtasks.rootfs.writing.copying import link_file

    try:
        with held_if_there(places.parts):
            files.remove_tree(places.standing)
            if not _is_same(places.tree, places.standing_tree):
                files.remove_tree(places.standing_tree)
                link_file(places.tree, places.standing_tree)
            noted = identity(places.published) + [_SHARES] * shares
            files.write(places.standing, msgspec.json.encode(noted))
    except (OSError, OutputError):
        pass


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samestat(safely.lstat(one), safely.lstat(other))
    except FileNotFoundError:
        return False


def has_tree(places: Places) -> bool:
    """Whether the tree of the root that was published last is the very file that `tree:` has left."""
    try:
        return _is_same(places.tree, places.standing_tree)
    except OSError:
        return False


def is_noted(places: Places, folder: str | None = None, *, shares: bool | None = None) -> bool:
    """Whether the published folder, or `folder`, which was published, is the one that was noted, as far as its own
    entry tells; and, if that is asked for, whether its root `shares` its files with other roots, or not."""
    try:
        noted = _NOTES.decode(safely.read(places.standing, _MAX_NOTE))
    except (OSError, ValueError):
        return False
    if shares is not None and shares != (noted[2:] == [_SHARES]):
        return False
    return noted[:2] == identity(places.published if folder is None else folder)


def root(
    places: Places, *, shares: bool, new: tuple[TreeFile, str] | None = None
) -> tuple[TreeFile, RootfsFacts, str] | None:
    """The published root, if it is a folder: its tree, what is recorded of it, and its path. None unless the bundle
    is the one that was noted, its record fits, and it shares its files with others, or not, as this is to be. Where
    its tree is the `new` one, as the fingerprint of that tells, it is that very one."""
    from c2wtasks.tree import treefile

    published = record.read(places.record)
    if published is None or published.rootfs is None or not is_noted(places, shares=shares):
        return None
    folder = places.output(published.folder)
    if new is not None and new[1] == published.rootfs.tree:
        return new[0], published.rootfs, folder
    try:
        content = safely.read(places.standing_tree, treefile.MAX_SIZE)
        if fingerprint.of_bytes(content) != published.rootfs.tree:
            return None
        return treefile.decode(content), published.rootfs, folder
    except (OSError, ValueError):
        return None
