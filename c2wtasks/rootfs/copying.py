"""Contents of files, straight from the tars of layers into what is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers.store import TOO_SHORT

Tars = Callable[[int], str]
"""Gives the path of the tar of layer number N (0 is the lowest). It is asked only for what is needed."""

SMALL = 1 << 16
"""Up to so many bytes are cheapest through a buffer."""
_CHUNK = 1 << 20
_UNSUPPORTED = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class OpenTars:
    """The tars of the layers, each opened when it is first needed."""

    def __init__(self, tars: Tars) -> None:
        self._tars = tars
        self._open: dict[int, int] = {}

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def descriptor(self, layer: int) -> int:
        """Raises OutputError, and what `tars` raises."""
        found = self._open.get(layer)
        if found is None:
            path = self._tars(layer)
            try:
                found = self._open[layer] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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
                    count = way(source, offset, target, length, position)
                    if count == 0:
                        raise OSError(errno.EIO, TOO_SHORT)
                    offset, length = offset + count, length - count
                    position = None if position is None else position + count
                return
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
    while length:
        content = read(source, offset, min(length, _CHUNK))
        write(target, content, position)
        offset, length = offset + len(content), length - len(content)
        position = None if position is None else position + len(content)


def _by_the_file_system(source: int, offset: int, target: int, length: int, position: int | None) -> int:
    return os.copy_file_range(source, target, length, offset, position)


def _by_the_kernel(source: int, offset: int, target: int, length: int, position: int | None) -> int:
    if position is not None:  # it writes only where the target stands
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    return os.sendfile(target, source, offset, length)
