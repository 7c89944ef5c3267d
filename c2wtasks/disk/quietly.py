"""Files opened for reading without a trace in their atimes."""

from __future__ import annotations

import os
import stat
from io import FileIO

from c2wtasks.disk import safely

_QUIET = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def open_quietly(path: str | bytes, folder: int | None = None) -> FileIO:
    """A regular file for reading, without a trace in its atime where we may do that: what was read last is kept
    longest, and an audit reads all.

    Raises OSError, also for what is not a regular file.
    """
    if folder is None:
        try:
            return FileIO(safely.open_file(os.fsdecode(path), os.O_RDONLY | os.O_NOATIME), "rb")
        except PermissionError:  # another user's file: the same, but for the trace
            return FileIO(safely.open_file(os.fsdecode(path)), "rb")
    try:
        descriptor = os.open(path, _QUIET | os.O_NOATIME, dir_fd=folder)
    except PermissionError:
        descriptor = os.open(path, _QUIET, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "not a regular file", path)
    return FileIO(descriptor, "rb")
