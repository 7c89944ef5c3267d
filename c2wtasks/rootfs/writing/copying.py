"""Contents of files, straight from the tars of layers into what is written."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers.content import TOO_SHORT
from c2wtasks.telling import progress

TarByNumber = Callable[[int], str]
"""Gives the path of the tar of layer number N (0 is the lowest). It is asked only for what is needed."""

SMALL = 1 << 16
"""Up to so many bytes are cheapest through a buffer."""
_CHUNK = 1 << 20
_AT_ONCE = 32 << 20  # by the kernel: more would move nothing for seconds
_UNSUPPORTED = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EIO)
"""EPERM: a sandbox that does not know the call. EIO: CIFS has said so; the plain way tells whether it is true."""
CANNOT_LINK = (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EACCES)
"""How file systems refuse a hard link: they have none (exFAT, CIFS, many in FUSE), not so many, or not to there."""


class OpenTars:
    """The tars of the layers, each opened when it is first needed."""

    def __init__(self, tars: TarByNumber) -> None:
        self._tars = tars
        self._open: dict[int, int] = {}

    def close(self) -> None:
        """Closes the tars that were opened."""
        for descriptor in self._open.values():
            os.close(descriptor)

    def descriptor(self, layer: int) -> int:
        """A descriptor of the tar of layer number `layer`.

        Raises OutputError, and what `tars` raises.
        """
        found = self._open.get(layer)
        if found is None:
            path = self._tars(layer)
            try:
                found = self._open[layer] = safely.open_file(path)
            except OSError as error:
                raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error
        return found


def read(source: int, offset: int, length: int) -> bytes:
    """`length` bytes of a tar from `offset` on.

    Raises OSError, with TOO_SHORT where there are fewer.
    """
    content = os.pread(source, length, offset)
    while len(content) < length:
        more = os.pread(source, length - len(content), offset + len(content))
        if not more:
            raise OSError(errno.EIO, TOO_SHORT)
        content += more
    progress.advance(length)
    return content


def write(target: int, content: bytes | bytearray, position: int | None = None) -> None:
    """Writes all of `content` at `position`, or where `target` stands.

    Raises OSError.
    """
    with memoryview(content) as left:
        done = 0
        while done < len(left):
            rest = left[done:]
            done += os.write(target, rest) if position is None else os.pwrite(target, rest, position + done)


def copy(source: int, offset: int, target: int, length: int, position: int | None = None) -> None:
    """Copies `length` bytes of a tar from `offset` on to `position` of `target`, or where that stands, which may be a
    pipe then. Large contents stay in the kernel, or are shared by the file system, where that can be.

    Raises OSError, with TOO_SHORT where there are fewer.
    """
    if length > SMALL:
        for way in (_by_the_file_system, _by_the_kernel):
            try:
                while length:
                    count = way(source, offset, target, min(length, _AT_ONCE), position)
                    progress.advance(count)
                    if count == 0:
                        break  # the source has ended, or the file system does not do it and fails to say so
                    offset, length = offset + count, length - count
                    position = None if position is None else position + count
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
    while length:
        content = read(source, offset, min(length, _CHUNK))
        write(target, content, position)
        offset, length = offset + len(content), length - len(content)
        position = None if position is None else position + len(content)


def link_file(source: str, target: str) -> None:
    """Gives the file `source` the name `target`, too; where the file system cannot, that is a copy, with the same
    mode and mtime, and with holes where it has them.

    Raises OSError.
    """
    try:
        safely.link(source, target)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        copy_file(source, target)


def copy_file(source: str, target: str) -> None:
    """Makes the file `target`, which is not there yet, as a copy of `source`, with the same mode and mtime, and with
    holes where it has them.

    Raises OSError.
    """
    have = safely.open_file(source)
    try:
        found = os.fstat(have)
        made = safely.create(target)
        try:
            os.ftruncate(made, found.st_size)
            for offset, length in data_of(have, found.st_size):
                os.lseek(made, offset, os.SEEK_SET)
                copy(have, offset, made, length)
            files.set_mode(made, stat.S_IMODE(found.st_mode))
            os.utime(made, ns=(found.st_mtime_ns, found.st_mtime_ns))
        finally:
            os.close(made)
    finally:
        os.close(have)


def data_of(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """(offset, length), in bytes, of what is not hole in a file.

    Raises OSError.
    """
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # the rest is a hole
                return
            start, end = end, size  # the file system tells of no holes
        else:
            end = min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
        yield start, end - start


def _by_the_file_system(source: int, offset: int, target: int, length: int, position: int | None) -> int:
    return os.copy_file_range(source, target, length, offset, position)


def _by_the_kernel(source: int, offset: int, target: int, length: int, position: int | None) -> int:
    if position is not None:  # it writes only where the target stands
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    return os.sendfile(target, source, offset, length)
