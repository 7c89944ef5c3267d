"""Putting a bundle where its consumers look, in one step: they see the old one or the new one, never a mixture."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from c2wtasks import files
from c2wtasks.catalog import record
from c2wtasks.catalog.places import PARTS, RECORD, ROOTFS, Places
from c2wtasks.errors import OutputError, os_reason

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

# Names in a bundle's private folder: what begins with a dot is unfinished, or on its way out.
_NEW = ".new"
_OLD = ".old"


def stage(places: Places, contents: Mapping[str, bytes], mtime_ns: int, put_rootfs: Callable[[str], None]) -> None:
    """Makes the folder that is to be published next, with these files and the rootfs that `put_rootfs` makes in it.

    `put_rootfs` gets the new folder's path. Every file is 0644 and, like the folder, has `mtime_ns`: what is
    published depends on nothing but its inputs.

    Raises OutputError.
    """
    new = places.part(_NEW)
    files.remove_tree(new)
    try:
        with files.removed_on_failure(new):
            files.make_folders(os.path.dirname(places.published))
            os.makedirs(new)
            folders = folders_of([*contents, places.rootfs])
            for folder in folders:
                files.make_folders(f"{new}/{folder}")
            for name, content in contents.items():
                files.write_unpublished(f"{new}/{name}", content, mtime_ns)
            put_rootfs(new)  # last: a root that was moved here is told by the record beside it, if we are killed
            os.chmod(new, 0o755)
            for folder in folders:
                os.utime(f"{new}/{folder}", ns=(mtime_ns, mtime_ns))
            os.utime(new, ns=(mtime_ns, mtime_ns))
    except OSError as error:
        size = sum(map(len, contents.values()))
        need = f" ({size} bytes beside the root)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise _unpublished(places, error, need) from error


def link(folder: str, paths: Iterable[str], new: str, mtime_ns: int) -> None:
    """Gives the files `paths` in `folder` the same names in the folder `new`, which is to be published. Their folders
    are 0755 and have `mtime_ns`.

    Raises OSError.
    """
    folders = folders_of(paths)
    for above in folders:
        files.make_folders(f"{new}/{above}")
    for path in paths:
        os.link(f"{folder}/{path}", f"{new}/{path}")
    for above in folders:
        os.utime(f"{new}/{above}", ns=(mtime_ns, mtime_ns))


def folders_of(paths: Iterable[str]) -> list[str]:
    """The folders that the paths lie in, each after the one above it."""
    return sorted({path[:at] for path in paths for at, sign in enumerate(path) if sign == "/"})


def publish(staged: Sequence[Places], output: str) -> dict[Places, OutputError]:
    """Replaces the published folders by the staged ones. Gives those for which it could not, which are as they were.

    All that is staged is on disk before it gets the published name, and that name is before the old folder goes.
    That takes two syncs of the file system, however many bundles they are for.
    """
    failed: dict[Places, OutputError] = {}
    try:
        files.sync_file_system(output)
        for places in staged:
            try:
                _take_place(places.part(_NEW), places.published)
            except OSError as error:
                failed[places] = _unpublished(places, error)
        files.sync_file_system(output)
    except OSError as error:
        return {places: _unpublished(places, error) for places in staged}
    for places in staged:
        try:
            files.remove_tree(places.part(_NEW))
        except OutputError as error:
            failed[places] = error
    return failed


def _unpublished(places: Places, error: OSError, need: str = "") -> OutputError:
    return OutputError(f"{error.filename or places.published}: cannot be published: {os_reason(error)}{need}")


def _take_place(new: str, published: str) -> None:
    """Gives the folder `new` the name `published`; what had that name, if anything, is called `new` afterwards."""
    try:
        os.rename(new, published)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
    if not _exchange(new, published):
        # A file system without exchange (NFS, some FUSE): the name is gone for an instant, the content never.
        old = f"{os.path.dirname(new)}/{_OLD}"
        files.remove_tree(old)
        os.rename(published, old)
        os.rename(new, published)
        os.rename(old, new)


def _exchange(one: str, other: str) -> bool:
    """Swaps two names in one step (renameat2); False where the file system or the C library cannot."""
    import ctypes  # only ever needed where something was built

    renameat2 = getattr(files.libc(), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), other)


def remove(places: Places, output: str) -> None:
    """Removes all that the bundle has in the output folder, and the folders that this leaves empty.

    Nobody sees a bundle that is half there: it loses its name first.

    Raises OutputError.
    """
    if os.path.isdir(places.published):
        doomed = places.part(_NEW)
        files.remove_tree(doomed)
        try:
            files.make_folders(places.parts)
            os.rename(places.published, doomed)
        except OSError as error:
            raise OutputError(f"{places.published}: cannot be removed: {os_reason(error)}") from error
    for path in (places.published, places.parts):
        files.remove_tree(path)
        folder = os.path.dirname(path)
        while folder != output and os.path.isdir(folder) and not os.listdir(folder):
            os.rmdir(folder)
            folder = os.path.dirname(folder)


def recover(output: str) -> None:
    """Removes what a run that was killed left unfinished in the output folder. Nobody else may be at work there.

    Raises OutputError.
    """
    for name in files.names(output):
        if name.startswith(files.TEMPORARY_PREFIX):
            files.remove_tree(f"{output}/{name}")
    for name in files.names(f"{output}/{PARTS}"):
        for platform in files.names(f"{output}/{PARTS}/{name}"):
            _recover_bundle(Places(f"{output}/{name}/{platform}", f"{output}/{PARTS}/{name}/{platform}"))


def _recover_bundle(places: Places) -> None:
    try:
        if os.path.isdir(places.part(_OLD)) and not os.path.lexists(places.published):
            os.rename(places.part(_OLD), places.published)  # the last good one, where names cannot be exchanged
    except OSError as error:
        raise OutputError(f"{places.published}: cannot be restored: {os_reason(error)}") from error
    _take_back_root(places)
    for name in files.names(places.parts):
        if name.startswith(".") or (name == ROOTFS and not _is_of_this_boot(places)):
            files.remove_tree(places.part(name))


def _take_back_root(places: Places) -> None:
    """Makes the root of a bundle that was ready to be published wait again, as it would have to be written once more.

    Not where the published one is such a root, too: what lies there may be the bundle that was replaced, on its way
    out, and nobody has looked whether its files are as they were left. If its root is another, its record, which
    tells, goes before that does (`files.remove_tree` empties a folder of its files first).
    """
    new, waiting = places.part(_NEW), places.part(ROOTFS)
    wanted, ready = record.read_rootfs(places.rootfs_stamp), record.read(f"{new}/{RECORD}")
    published = record.read(places.record)
    if wanted is None or ready is None or ready.rootfs != wanted or os.path.lexists(waiting):
        return
    if published is not None and published.rootfs == wanted:
        return
    try:
        os.rename(f"{new}/{ready.folder}", waiting)
    except OSError:  # it is written again
        pass


def note_boot(places: Places) -> None:
    """Notes that the root which waits to be published is of the time since the machine was last started: it is synced
    when it is published, so after a power loss it may be less than it seems.

    Raises OutputError.
    """
    files.write_if_changed(places.boot, _boot())


def _is_of_this_boot(places: Places) -> bool:
    try:
        with open(places.boot, "rb") as stream:
            return stream.read() == _boot() != b""
    except OSError:
        return False


def _boot() -> bytes:
    """What is another after each start of the machine; b"" where the system has no such thing."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as stream:
            return stream.read()
    except OSError:
        return b""
