"""Putting what was written on disk, so that it survives a power loss."""

from __future__ import annotations

import os
import threading
from errno import EINVAL, ENOSYS, EOPNOTSUPP

from c2wtasks.disk import clib, safely

_SYNC_FILE_RANGE_WRITE = 2
_NO_SUCH_SYNC = (EINVAL, ENOSYS, EOPNOTSUPP)


def start_writing(descriptor: int, offset: int) -> None:
    """Makes the kernel begin to put on disk what was written to a file from `offset` on, without waiting for it: the
    disk works while we go on, and a later fsync finds little left to do. Nothing happens where it cannot (not Linux).
    """
    import ctypes

    if sync_file_range := getattr(clib.libc(), "sync_file_range", None):
        to_the_end = 0
        sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(to_the_end), _SYNC_FILE_RANGE_WRITE)


def sync_folder(folder: str) -> None:
    """Makes the names in `folder` survive a power loss; where the file system syncs no folders, they are as safe as
    it makes them.

    Raises OSError.
    """
    with safely.open_folder(folder) as descriptor:
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_SUCH_SYNC:
                raise


def sync_file_system(folder: str) -> None:
    """Puts all that was written to the file system of `folder` on disk: for a tree of many files, far cheaper than
    one by one.

    Raises OSError.
    """
    import ctypes

    with safely.open_folder(folder) as descriptor:
        syncfs = getattr(clib.libc(), "syncfs", None)
        if syncfs is not None and syncfs(descriptor) == 0:
            return
        number = ctypes.get_errno() if syncfs is not None else ENOSYS
        if number not in _NO_SUCH_SYNC:
            raise OSError(number, os.strerror(number), folder)
        os.sync()


def begin_to_sync(folder: str) -> None:
    """Makes the file system of `folder` put what was written so far on disk, and does not wait for it: only a later
    `sync_file_system`, which finds little left to do, tells that all is there."""

    def sync() -> None:
        try:
            sync_file_system(folder)
        except OSError:  # the later one says so
            pass

    try:
        threading.Thread(target=sync, name="syncing", daemon=True).start()
    except RuntimeError:  # no more threads are to be had
        pass
