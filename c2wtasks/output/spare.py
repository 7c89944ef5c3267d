"""The root of a bundle that was replaced, kept in private: the next root is made of it, as most of it stays.

Nearly all its files are names of those that are published, so it takes the room of its names. It is kept in
`spare/`; `spare.note` says which folder that is, and what the published root has otherwise. Who uses it takes it away
first, so one that was cut short in use is never taken for whole. Nor is one used that somebody reads, who has opened
it when it was published: it would be changed while they do so, and what they read be of no image.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from c2wtasks.disk import files, safely
from c2wtasks.disk.filestate import disk_bytes
from c2wtasks.errors import OutputError
from c2wtasks.output import record, standing, waiting
from c2wtasks.output.places import NEW, RECORD, Places
from c2wtasks.output.record import RootfsFacts
from c2wtasks.output.waiting import FolderNote
from c2wtasks.process import openers
from c2wtasks.rootfs.dir import Young, settled
from c2wtasks.tree.difference import Delta

IDLE_NS = 30 * 86_400 * 10**9
"""Of a bundle that is replaced as seldom, no spare root is kept: it takes room for a change that hardly comes."""

_LITTLE = 1 << 20
_PART = 16  # a spare may take a part of the root's bytes, beside its names

Stamps = dict[int, dict[int, int]]
"""Those of roots (`rootfs.dir.stamps`), by the inodes of their folders."""


class Written(msgspec.Struct, frozen=True, array_like=True):
    """A root that was written, after another one, if any, which was published then: their difference, and how many
    bytes of files the former one has which the new one has not. `stamps` are those of both; the new one's lack those
    of its `young` directories."""

    delta: Delta | None
    unshared: int
    stamps: Stamps
    young: list[Young] = []


class _Note(msgspec.Struct, frozen=True, array_like=True):
    folder: FolderNote
    facts: RootfsFacts
    delta: Delta


class Taken(NamedTuple):
    """A spare root that was taken: what is recorded of it, how the published root differs from it, and its stamps."""

    facts: RootfsFacts
    delta: Delta
    stamps: dict[int, int]


_WRITTEN = msgspec.msgpack.Decoder(Written)
_NOTES = msgspec.msgpack.Decoder(_Note)


def settle(places: Places, new: str) -> Written | None:
    """What is noted of the root in the folder `new`, which is published next. The stamps that it lacks are noted,
    too: while it is private, so that nobody can change it in the tick of the clock in which it was written.

    Where that cannot be, its directories are looked into.
    """
    written, root = written_last(places), f"{new}/{places.rootfs}"
    if written is None or written.delta is None or not written.young:
        return written
    try:
        own = written.stamps.get(safely.lstat(root).st_ino)
        if own is not None:
            own.update(settled(written.young, root))
            written = replace(written, young=[])
            note_written(places, written)
    except (OSError, OutputError):
        pass
    return written


def keep(places: Places, written: Written | None) -> None:
    """Keeps the root of the bundle that was published until now, and lies as `.new` in the private folder, if all is
    known of it; and not if it has much that the new one has not, of which `written` is noted.

    Where it cannot be kept (the disk is full, say), what comes next is made anew.
    """
    if written is None or written.delta is None:
        return
    replaced = places.part(NEW)
    try:
        was = record.read(f"{replaced}/{RECORD}")
        if was is None or was.rootfs is None or not standing.is_noted(places, replaced):
            return
        most = max(_LITTLE, was.rootfs.size // _PART)
        if written.delta.before != was.rootfs.tree or written.unshared > most:
            return
        discard(places)
        safely.rename(f"{replaced}/{was.folder}", places.spare)
        with safely.open_folder(places.spare) as folder:
            os.fchmod(folder, 0o700)  # programs that the new root has not any more are not to be run by others
        note = _Note(waiting.note_of(places.spare), was.rootfs, written.delta)
        files.write(places.spare_note, msgspec.msgpack.encode(note))
    except (OSError, ValueError, OutputError):
        pass


def note_written(places: Places, written: Written) -> None:
    """Notes what becomes of the published root when the one that was just written takes its place.

    Raises OutputError.
    """
    files.write(places.spare_delta, msgspec.msgpack.encode(written))


def written_last(places: Places) -> Written | None:
    """What is noted of the root that was written last."""
    try:
        return _WRITTEN.decode(safely.read(places.spare_delta, record.MAX_SIZE))
    except (OSError, ValueError, RecursionError):
        return None


def take(places: Places, published: RootfsFacts, folder: str, stamps: Stamps) -> Taken | None:
    """Gives the spare root the name `folder`, and tells what there is to know of it. `stamps` are those noted last.
    None where there is none that is as it was left, since the machine was started, when that root was published; and
    where somebody has it open: then nothing is called so.

    Raises OutputError.
    """
    found = _taken(places, published, folder, stamps)
    if found is None:
        discard(places)
    return found


def _taken(places: Places, published: RootfsFacts, folder: str, stamps: Stamps) -> Taken | None:
    """As `take`, but one that cannot be used may be left there. Raises OutputError."""
    try:
        noted = _NOTES.decode(safely.read(places.spare_note, record.MAX_SIZE))
        files.remove_tree(places.spare_note)
        if noted.delta.tree != published.tree or noted.folder != waiting.note_of(places.spare):
            return None
        if not noted.folder.boot or openers.had_open(places.spare):
            return None
        own = stamps.get(noted.folder.inode)
        if own is None:
            return None
        safely.rename(places.spare, folder)
        found = safely.lstat(folder)
        taken, meant = (found.st_dev, found.st_ino), (noted.folder.device, noted.folder.inode)
        if taken != meant or own.get(found.st_ino) != found.st_mtime_ns:  # it was replaced just now, or changed
            files.remove_tree(folder)
            return None
        return Taken(noted.facts, noted.delta, own)
    except (OSError, ValueError, RecursionError):
        return None


def discard(places: Places) -> None:
    """Removes what there is of a spare root.

    Raises OutputError.
    """
    for path in (places.spare_note, places.spare):
        files.remove_tree(path)


def is_whole(places: Places) -> bool:
    """Whether there is a spare root that is as it was left, as far as its own entry tells; none at all is, too."""
    try:
        noted = _NOTES.decode(safely.read(places.spare_note, record.MAX_SIZE))
        return noted.folder == waiting.note_of(places.spare) and noted.folder.boot != ""
    except (OSError, ValueError, RecursionError):
        return not any(map(safely.exists, (places.spare, places.spare_note)))


def why_useless(places: Places, now_ns: int) -> str | None:
    """Why a spare root that is there might as well be removed; None where it might not, or is not there."""
    if not safely.exists(places.spare):
        return None
    if not is_whole(places):
        return "no root can be made of it"
    idle_ns = now_ns - safely.lstat(places.spare_note).st_mtime_ns
    return "its bundle was not replaced for a month" if idle_ns >= IDLE_NS else None


def room(places: Places) -> int:
    """The bytes of disk that the spare root takes for itself, as far down as its paths can be told to the kernel."""
    found = disk_bytes(safely.lstat(places.spare))
    folders = [places.spare]
    while folders:
        folder = folders.pop()
        try:
            inside = safely.scan(folder)
        except OSError:
            continue
        for name, state in inside:
            is_folder = stat.S_ISDIR(state.st_mode)
            if is_folder:
                folders.append(f"{folder}/{name}")
            if is_folder or state.st_nlink == 1:
                found += disk_bytes(state)
    return found
