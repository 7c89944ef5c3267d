"""Moving bytes into an image: small pieces gathered into large writes, files straight from the tars of layers."""

from __future__ import annotations

import errno
import os

from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers.store import TOO_SHORT
from c2wtasks.rootfs.directory import Tars
from c2wtasks.rootfs.erofs.records import BLOCK

_SMALL = 1 << 16
_FULL = 1 << 20
_UNSUPPORTED = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class Gathered:
    """Writes to a file what is put at ascending offsets, in large pieces. Less than a block between two is filled
    with zeros; more stays as it is in the file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.start = 0
        self.pending = bytearray()

    def put(self, offset: int, content: bytes) -> None:
        pending = self.pending
        gap = offset - self.start - len(pending)
        if 0 <= gap < BLOCK and len(pending) < _FULL:
            if gap:
                pending += bytes(gap)
        else:
            self.flush()
            self.start = offset
        pending += content

    def flush(self) -> None:
        _write(self.descriptor, self.start, self.pending)
        self.start += len(self.pending)
        self.pending.clear()


class Layers:
    """The tars of the layers, each opened when it is first needed."""

    def __init__(self, tars: Tars) -> None:
        self.tars = tars
        self.open: dict[int, int] = {}

    def close(self) -> None:
        for descriptor in self.open.values():
            os.close(descriptor)

    def tar(self, layer: int) -> int:
        descriptor = self.open.get(layer)
        if descriptor is None:
            path = self.tars(layer)
            try:
                descriptor = self.open[layer] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error
        return descriptor


def read(source: int, offset: int, length: int) -> bytes:
    """`length` bytes, or OSError with TOO_SHORT."""
    content = os.pread(source, length, offset)
    while len(content) < length:
        more = os.pread(source, length - len(content), offset + len(content))
        if not more:
            raise OSError(errno.EIO, TOO_SHORT)
        content += more
    return content


def copy(source: int, offset: int, target: int, position: int, length: int) -> None:
    """Copies `length` bytes from `offset` of one file to `position` of another, within the kernel where it can."""
    if length > _SMALL:
        try:
            while length:
                count = os.copy_file_range(source, target, length, offset, position)
                if count == 0:
                    raise OSError(errno.EIO, TOO_SHORT)
                offset += count
                position += count
                length -= count
            return
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    while length:
        content = read(source, offset, min(length, _FULL))
        _write(target, position, content)
        offset += len(content)
        position += len(content)
        length -= len(content)


def _write(target: int, position: int, content: bytes | bytearray) -> None:
    done = os.pwrite(target, content, position) if content else 0
    while done < len(content):
        done += os.pwrite(target, content[done:], position + done)
