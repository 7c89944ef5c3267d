"""The content of a layer's tar, to look into at any offset: mapped where the file system can do that."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import MADV_DONTNEED, MAP_PRIVATE, PAGESIZE, PROT_READ, mmap

_CANNOT_MAP = (errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EINVAL)


class Unmapped:
    """A file that is read where it is asked for, as bytes that cannot be mapped would be sliced.

    Raises OSError where it is sliced.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        self._size = os.fstat(descriptor).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, at: slice) -> bytes:
        start, stop, _ = at.indices(self._size)
        return os.pread(self._descriptor, max(0, stop - start), start)

    def close(self) -> None:
        """Closes its own descriptor, not the one that it was made with."""
        os.close(self._descriptor)


Content = bytes | mmap | Unmapped


def content_of(descriptor: int) -> mmap | Unmapped | None:
    """The content of an open file; None where it is empty. It stays when the descriptor is closed.

    A private mapping is one that more file systems have than a shared one (9p, virtiofs and FUSE have none with some
    of their options), and the same to one who only reads.
    """
    if os.fstat(descriptor).st_size == 0:
        return None
    try:
        return mmap(descriptor, 0, flags=MAP_PRIVATE, prot=PROT_READ)
    except OSError as error:
        if error.errno not in _CANNOT_MAP:
            raise
        return Unmapped(descriptor)


@contextmanager
def content(descriptor: int) -> Iterator[Content]:
    """The content of an open file, while the block runs.

    Raises OSError.
    """
    found = content_of(descriptor)
    if found is None:
        yield b""
        return
    try:
        yield found
    finally:
        found.close()


def forget(content: Content, start: int, end: int) -> int:
    """Lets go of the pages from `start` to `end`, which would go on counting as our memory; gives where it ended."""
    behind = end // PAGESIZE * PAGESIZE
    if isinstance(content, mmap):
        content.madvise(MADV_DONTNEED, start, behind - start)
    return behind
