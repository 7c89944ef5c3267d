"""Putting a bundle where its consumers look, in one step: they see the old one or the new one, never a mixture."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Mapping

from c2wtasks import files
from c2wtasks.catalog.places import Places
from c2wtasks.errors import OutputError, os_reason

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def publish(places: Places, contents: Mapping[str, bytes], mtime_ns: int, put_rootfs: Callable[[str], None]) -> None:
    """Replaces the published folder by one with these files and the rootfs that `put_rootfs` makes in it.

    `put_rootfs` gets the new folder's path. Every file is 0644 and, like the folder, has `mtime_ns`: what is
    published depends on nothing but its inputs.

    Raises OutputError; the published folder is then as it was.
    """
    new = places.part(".new")
    files.remove_tree(new)
    try:
        files.make_folders(os.path.dirname(places.published))
        os.makedirs(new)
        put_rootfs(new)
        for name, content in contents.items():
            path = f"{new}/{name}"
            files.write(path, content)
            os.utime(path, ns=(mtime_ns, mtime_ns))
        os.chmod(new, 0o755)
        os.utime(new, ns=(mtime_ns, mtime_ns))
        _take_place(new, places.published)
    except OSError as error:
        raise OutputError(f"{error.filename or places.published}: cannot be published: {os_reason(error)}") from error
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
        old = f"{new}-old"
        files.remove_tree(old)
        os.rename(published, old)
        os.rename(new, published)
        os.rename(old, new)


def _exchange(one: str, other: str) -> bool:
    """Swaps two names in one step (renameat2); False where the file system or the C library cannot."""
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

    Raises OutputError.
    """
    for path in (places.published, places.parts):
        files.remove_tree(path)
        folder = os.path.dirname(path)
        while folder != output and os.path.isdir(folder) and not os.listdir(folder):
            os.rmdir(folder)
            folder = os.path.dirname(folder)
