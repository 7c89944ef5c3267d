"""The root that waits, in a bundle's private folder, to be published: which folder that is, and since when."""

from __future__ import annotations

from functools import cache

import msgspec

from c2wtasks.disk import files, safely
from c2wtasks.output import record
from c2wtasks.output.places import NEW, RECORD, ROOTFS, Places

_MAX_NOTE = 300  # bytes


class FolderNote(msgspec.Struct, frozen=True):
    """Which folder it was, and when. `boot` is another after each start of the machine; the others are the folder's,
    which nobody can forge: another has its own device and inode, and whatever is done with one that had these has
    moved its ctime."""

    boot: str
    device: int
    inode: int
    ctime_ns: int


_DECODER = msgspec.json.Decoder(FolderNote)


def note(places: Places, root: str) -> None:
    """Notes that `root` is the one which was written, and the start of the machine which it is of the time since: it
    is synced when it is published, so after a power loss it may be less than it seems.

    Raises OSError, OutputError.
    """
    files.write(places.boot, msgspec.json.encode(note_of(root)))


def note_of(root: str) -> FolderNote:
    """What tells the folder `root`, as it is now, from all others. Raises OSError."""
    found = safely.lstat(root)
    return FolderNote(boot(), found.st_dev, found.st_ino, found.st_ctime_ns)


def _noted(places: Places) -> FolderNote | None:
    try:
        return _DECODER.decode(safely.read(places.boot, _MAX_NOTE))
    except (OSError, ValueError):
        return None


def waits(places: Places) -> bool:
    """Whether the root that we wrote waits, and nobody has put another in its place."""
    return _is_noted(places) is not None


def _is_noted(places: Places) -> FolderNote | None:
    try:
        found = note_of(places.part(ROOTFS))
    except OSError:
        return None
    noted = _noted(places)
    return noted if noted is not None and _folder(found) == _folder(noted) else None


def _folder(note: FolderNote) -> tuple[int, int, int]:
    return note.device, note.inode, note.ctime_ns


def is_of_this_boot(places: Places) -> bool:
    """Whether what waits is the root that we wrote, and no power was lost since."""
    noted = _is_noted(places)
    return noted is not None and noted.boot == boot() != ""


def move(places: Places, root: str, target: str) -> bool:
    """Gives `root`, the one that was noted, the name `target`; says whether it is that one.

    Raises OSError.
    """
    noted = _noted(places)
    safely.rename(root, target)
    if noted is not None and safely.identity(target) == (noted.device, noted.inode):
        return True
    files.remove_tree(target)  # it was replaced just now
    return False


def take_back(places: Places) -> None:
    """Makes the root of a bundle that was ready to be published wait again, as it would have to be written once more.

    Not where the published one is such a root, too: what lies there may be the bundle that was replaced, on its way
    out, and nobody has looked whether its files are as they were left. If its root is another, its record, which
    tells, goes before that does (`files.remove_tree` empties a folder of its files first).
    """
    new, waiting = places.part(NEW), places.part(ROOTFS)
    wanted, ready = record.read_rootfs(places.rootfs_facts_file), record.read(f"{new}/{RECORD}")
    published, noted = record.read(places.record), _noted(places)
    if wanted is None or ready is None or ready.rootfs != wanted.facts or noted is None or safely.exists(waiting):
        return
    if published is not None and published.rootfs == wanted.facts:
        return
    root = f"{new}/{ready.folder}"
    try:
        if noted.boot == boot() != "" and safely.identity(root) == (noted.device, noted.inode):
            safely.rename(root, waiting)
            note(places, waiting)
    except OSError:  # it is written again
        pass


@cache
def boot() -> str:
    """What tells this start of the machine from others; "" where the system has no such thing."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        return ""
