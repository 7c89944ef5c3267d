"""Putting a bundle where its consumers look, in one step: they see the old one or the new one, never a mixture."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping

from c2wtasks import files
from c2wtasks.catalog.places import PARTS, Places
from c2wtasks.errors import OutputError, os_reason

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

# Names in a bundle's private folder: what begins with a dot is unfinished, or on its way out.
_NEW = ".new"
_OLD = ".old"


def publish(places: Places, contents: Mapping[str, bytes], mtime_ns: int, put_rootfs: Callable[[str], None]) -> None:
    """Replaces the published folder by one with these files and the rootfs that `put_rootfs` makes in it.

    `put_rootfs` gets the new folder's path; what it puts there must be on disk already. Every file is 0644 and, like
    the folder, has `mtime_ns`: what is published depends on nothing but its inputs. All of it is on disk before it
    gets the published name, and that name is before the old folder goes.

    Raises OutputError; the published folder is then as it was.
    """
    new = places.part(_NEW)
    files.remove_tree(new)
    try:
        with files.removed_on_failure(new):
            files.make_folders(os.path.dirname(places.published))
            os.makedirs(new)
            for name, content in contents.items():
                path = f"{new}/{name}"
                files.write(path, content)
                os.utime(path, ns=(mtime_ns, mtime_ns))
            files.sync_file_system(new)
            put_rootfs(new)  # last, since a root that was moved here is lost if we are killed from now on
            os.chmod(new, 0o755)
            os.utime(new, ns=(mtime_ns, mtime_ns))
            files.sync_folder(new)
            _take_place(new, places.published)
        files.sync_folder(os.path.dirname(places.published))
    except OSError as error:
        where = error.filename or places.published
        size = sum(map(len, contents.values()))
        need = f" ({size} bytes beside the root)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise OutputError(f"{where}: cannot be published: {os_reason(error)}{need}") from error
    files.remove_tree(new)


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

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        renameat2 = libc.renameat2
    except AttributeError:
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
    for name in _names(output):
        if name.startswith(files.TEMPORARY_PREFIX):
            files.remove_tree(f"{output}/{name}")
    for name in _names(f"{output}/{PARTS}"):
        for platform in _names(f"{output}/{PARTS}/{name}"):
            _recover_bundle(Places(f"{output}/{name}/{platform}", f"{output}/{PARTS}/{name}/{platform}"))


def _recover_bundle(places: Places) -> None:
    try:
        if os.path.isdir(places.part(_OLD)) and not os.path.lexists(places.published):
            os.rename(places.part(_OLD), places.published)  # the last good one, where names cannot be exchanged
    except OSError as error:
        raise OutputError(f"{places.published}: cannot be restored: {os_reason(error)}") from error
    for name in _names(places.parts):
        if name.startswith("."):
            files.remove_tree(places.part(name))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
