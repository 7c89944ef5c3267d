"""Writes the pieces of an archive, contents straight from the layers' tars, to a file or a pipe."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers.store import TOO_SHORT
from c2wtasks.rootfs.compressing import Compressor
from c2wtasks.rootfs.directory import Tars, node_path
from c2wtasks.rootfs.pieces import Extent, Piece, Zeros, size
from c2wtasks.tree.treefile import TreeFile

Pieces = Callable[[TreeFile], Iterator[Piece]]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_SMALL = 1 << 16  # what is not longer goes through the buffer: cheaper than a write of its own
_CHUNK = 1 << 20
_UNSUPPORTED = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def to_file(path: str, pieces: Pieces, tree: TreeFile, tars: Tars, compressor: Compressor | None = None) -> None:
    """Makes the file `path`, 0644, hold the pieces of the tree. Where it is not compressed, zeros become holes.

    Raises OutputError, and what `pieces` and `tars` raise.
    """
    sender = _Sender(tars)
    try:
        descriptor = os.open(path, _CREATE, 0o644)
        try:
            os.fchmod(descriptor, 0o644)
            sender.send(pieces(tree), _Compressed(descriptor, compressor) if compressor else _Plain(descriptor))
        finally:
            os.close(descriptor)
    except OSError as error:
        need = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            need = f" (it takes {sum(map(size, pieces(tree)))} bytes{', before compression' if compressor else ''})"
        raise OutputError(f"{path}: {sender.where(tree)}: {os_reason(error)}{need}") from error
    finally:
        sender.close()


def to_descriptor(descriptor: int, pieces: Pieces, tree: TreeFile, tars: Tars) -> None:
    """Writes the pieces of the tree where `descriptor` stands: a pipe, or a file.

    Raises BrokenPipeError where nobody reads on, OutputError, and what `pieces` and `tars` raise.
    """
    sender = _Sender(tars)
    try:
        sender.send(pieces(tree), _Plain(descriptor))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"{sender.where(tree)}: {os_reason(error)}") from error
    finally:
        sender.close()


class _Sink(Protocol):
    def write(self, content: bytes | bytearray) -> None: ...

    def copy(self, source: int, offset: int, length: int) -> None: ...

    def zeros(self, length: int) -> None: ...

    def finish(self) -> None: ...


class _Sender:
    def __init__(self, tars: Tars) -> None:
        self.tars = tars
        self.open_tars: dict[int, int] = {}
        self.at = 0

    def close(self) -> None:
        for descriptor in self.open_tars.values():
            os.close(descriptor)

    def where(self, tree: TreeFile) -> str:
        """The path of the file at work, for messages."""
        return node_path(tree.nodes, self.at).decode("utf-8", "backslashreplace") or "/"

    def tar(self, layer: int) -> int:
        descriptor = self.open_tars.get(layer)
        if descriptor is None:
            path = self.tars(layer)
            try:
                descriptor = self.open_tars[layer] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error
        return descriptor

    def send(self, pieces: Iterable[Piece], sink: _Sink) -> None:
        buffer = bytearray()
        for piece in pieces:
            if isinstance(piece, bytes):
                buffer += piece
            elif piece.length <= _SMALL:
                buffer += self.small(piece)
            else:
                sink.write(buffer)
                buffer.clear()
                if isinstance(piece, Extent):
                    self.at = piece.node
                    sink.copy(self.tar(piece.layer), piece.offset, piece.length)
                else:
                    sink.zeros(piece.length)
            if len(buffer) >= _CHUNK:
                sink.write(buffer)
                buffer.clear()
        sink.write(buffer)
        sink.finish()

    def small(self, piece: Extent | Zeros) -> bytes:
        if isinstance(piece, Zeros):
            return bytes(piece.length)
        self.at = piece.node
        content = os.pread(self.tar(piece.layer), piece.length, piece.offset)
        if len(content) < piece.length:
            raise OSError(errno.EIO, TOO_SHORT)
        return content


class _Plain:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        found = os.fstat(descriptor)
        self.at_the_end = stat.S_ISREG(found.st_mode) and found.st_size <= os.lseek(descriptor, 0, os.SEEK_CUR)

    def write(self, content: bytes | bytearray) -> None:
        with memoryview(content) as rest:
            written = 0
            while written < len(rest):
                written += os.write(self.descriptor, rest[written:])

    def copy(self, source: int, offset: int, length: int) -> None:
        for way in _WAYS:
            try:
                while length:
                    count = way(source, offset, self.descriptor, length)
                    if count == 0:
                        raise OSError(errno.EIO, TOO_SHORT)
                    offset += count
                    length -= count
                return
            except OSError as error:
                if error.errno not in _UNSUPPORTED or way is _WAYS[-1]:
                    raise

    def zeros(self, length: int) -> None:
        """A hole, where something comes after it, as it does in every archive."""
        if self.at_the_end:
            os.lseek(self.descriptor, length, os.SEEK_CUR)
            return
        for count in _chunks(length):
            self.write(bytes(count))

    def finish(self) -> None:
        pass


class _Compressed:
    def __init__(self, descriptor: int, compressor: Compressor) -> None:
        self.plain = _Plain(descriptor)
        self.compressor = compressor

    def write(self, content: bytes | bytearray) -> None:
        self.plain.write(self.compressor.compress(content))

    def copy(self, source: int, offset: int, length: int) -> None:
        for count in _chunks(length):
            content = os.pread(source, count, offset)
            if len(content) < count:
                raise OSError(errno.EIO, TOO_SHORT)
            self.write(content)
            offset += count

    def zeros(self, length: int) -> None:
        for count in _chunks(length):
            self.write(bytes(count))

    def finish(self) -> None:
        self.plain.write(self.compressor.flush())


def _chunks(length: int) -> Iterator[int]:
    while length > 0:
        yield min(length, _CHUNK)
        length -= _CHUNK


def _by_the_file_system(source: int, offset: int, target: int, length: int) -> int:
    return os.copy_file_range(source, target, length, offset_src=offset)


def _by_the_kernel(source: int, offset: int, target: int, length: int) -> int:
    return os.sendfile(target, source, offset, length)


def _by_hand(source: int, offset: int, target: int, length: int) -> int:
    content = os.pread(source, min(length, _CHUNK), offset)
    return os.write(target, content) if content else 0


_WAYS = (_by_the_file_system, _by_the_kernel, _by_hand)
