"""Files that an audit reads whole: none that is longer than it should be, or hardly more than a hole."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from io import FileIO

from c2wtasks.disk.filestate import disk_bytes
from c2wtasks.disk.safely import open_quietly

_MOST_HOLES = 64 << 30  # some 20 s; what data a file has, its disk has room for


def open_whole(path: str, sizes: Collection[int] = ()) -> FileIO:
    """A regular file that is to be read to its end: of one of the `sizes` (bytes), if any are known. Where none is,
    a file of holes may state any length: 8 EiB take centuries to read.

    Raises OSError.
    """
    stream = open_quietly(path)
    try:
        found = os.fstat(stream.fileno())
        if sizes and found.st_size not in sizes:
            want = " or ".join(map(str, sorted(sizes)))
            raise OSError(errno.EFBIG, f"{found.st_size} bytes, where {want} are recorded", path)
        if found.st_size - disk_bytes(found) > _MOST_HOLES:
            raise OSError(errno.EFBIG, f"{found.st_size} bytes, most of them a hole", path)
    except OSError:
        stream.close()
        raise
    return stream
