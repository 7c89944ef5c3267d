"""Writes the pieces of an archive, contents straight from the layers' tars, to a file or a pipe."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.oci.digest import Digest
from c2wtasks.rootfs.writing import copying
from c2wtasks.rootfs.writing.compressing import Compressor
from c2wtasks.rootfs.writing.copying import OpenTars, TarByNumber
from c2wtasks.rootfs.writing.pieces import Piece, TarPiece, Zeros, size
from c2wtasks.telling import progress
from c2wtasks.tree.paths import shown_path
from c2wtasks.tree.treefile import TreeFile

if TYPE_CHECKING:
    from hashlib import _Hash

Pieces = Callable[[TreeFile], Iterator[Piece]]

_CHUNK = 1 << 20
_FULL = 1 << 18  # bytes: as many stay in the processor's cache
_HASHED_AT_ONCE = 8 << 20


def to_file(
    path: str, pieces: Pieces, tree: TreeFile, tars: TarByNumber, compressor: Compressor | None = None
) -> None:
    """Makes the file `path`, 0644, which must not be there, hold the pieces of the tree. Where it is not compressed,
    zeros become holes.

    Raises OutputError, and what `pieces` and `tars` raise.
    """
    with _sending(path, pieces, tree, tars, compressor) as (send, file):
        send(_Compressed(file, compressor) if compressor else file)


def to_hashed_file(
    path: str, pieces: Pieces, tree: TreeFile, tars: TarByNumber, compressor: Compressor | None = None
) -> tuple[Digest, Digest]:
    """Does what `to_file` does. Gives the digest of the pieces, and that of the file: another where it is
    compressed."""
    with (
        _sending(path, pieces, tree, tars, compressor) as (send, file),
        ThreadPoolExecutor(1, "hasher") as beside,
    ):
        hashed = _Hashed(file, beside)
        if compressor is None:
            send(hashed)
            return _digest(hashed.hash), _digest(hashed.hash)
        before = sha256()
        send(_Compressed(hashed, compressor, before))
        return _digest(before), _digest(hashed.hash)


@contextmanager
def _sending(
    path: str, pieces: Pieces, tree: TreeFile, tars: TarByNumber, compressor: Compressor | None
) -> Iterator[tuple[Callable[[_Sink], None], _Plain]]:
    """A function that sends the pieces, and the new file `path`, empty, where they are to end up."""
    sender = _Sender(tars)
    try:
        descriptor = safely.create(path)
        try:
            files.set_mode(descriptor, 0o644)
            yield lambda sink: sender.send(pieces(tree), sink), _Plain(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        need = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            need = f" (it takes {sum(map(size, pieces(tree)))} bytes{', before compression' if compressor else ''})"
        raise OutputError(f"{path}: {sender.where(tree)}: {os_reason(error)}{need}") from error
    finally:
        sender.close()


def to_descriptor(descriptor: int, pieces: Pieces, tree: TreeFile, tars: TarByNumber) -> None:
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
    def __init__(self, tars: TarByNumber) -> None:
        self.tars = OpenTars(tars)
        self.at = 0

    def close(self) -> None:
        self.tars.close()

    def where(self, tree: TreeFile) -> str:
        """The path of the file at work, for messages."""
        return shown_path(tree.nodes, self.at)

    def send(self, pieces: Iterable[Piece], sink: _Sink) -> None:
        buffer = bytearray()
        small, pread, descriptor = copying.SMALL, os.pread, self.tars.descriptor
        for piece in pieces:
            if isinstance(piece, bytes):
                buffer += piece
            elif piece.length <= small:
                if isinstance(piece, Zeros):
                    buffer += bytes(piece.length)
                    continue
                self.at = piece.node
                content = pread(descriptor(piece.layer), piece.length, piece.offset)
                if len(content) < piece.length:
                    content = copying.read(descriptor(piece.layer), piece.offset, piece.length)
                buffer += content
            else:
                sink.write(buffer)
                buffer.clear()
                if isinstance(piece, TarPiece):
                    self.at = piece.node
                    sink.copy(self.tars.descriptor(piece.layer), piece.offset, piece.length)
                else:
                    sink.zeros(piece.length)
            if len(buffer) >= _FULL:
                progress.advance(len(buffer))
                sink.write(buffer)
                buffer.clear()
        sink.write(buffer)
        sink.finish()


class _Plain:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        found = os.fstat(descriptor)
        self.at_the_end = stat.S_ISREG(found.st_mode) and found.st_size <= os.lseek(descriptor, 0, os.SEEK_CUR)

    def write(self, content: bytes | bytearray) -> None:
        copying.write(self.descriptor, content)

    def copy(self, source: int, offset: int, length: int) -> None:
        copying.copy(source, offset, self.descriptor, length)

    def zeros(self, length: int) -> None:
        """Leaves a hole, where something comes after it, as it does in every archive."""
        if self.at_the_end:
            os.lseek(self.descriptor, length, os.SEEK_CUR)
            return
        for count in _chunks(length):
            self.write(bytes(count))

    def finish(self) -> None:
        pass


class _Hashed:
    """Writes to a file, and hashes that in a thread, a little behind: hashing takes longer than writing."""

    def __init__(self, file: _Plain, beside: ThreadPoolExecutor) -> None:
        self.file = file
        self.beside = beside
        self.hash = sha256()
        self.written = 0
        self.left_to = 0  # the thread: what is written from here on
        self.jobs: list[Future[None]] = []

    def write(self, content: bytes | bytearray) -> None:
        self.file.write(content)
        if content:
            self.moved(len(content))

    def copy(self, source: int, offset: int, length: int) -> None:
        self.file.copy(source, offset, length)
        self.moved(length)

    def zeros(self, length: int) -> None:
        self.file.zeros(length)
        self.written += length  # a hole is not there, to be read, before something is written after it

    def finish(self) -> None:
        self.moved(0, at_least=0)
        for job in self.jobs:
            job.result()

    def moved(self, length: int, *, at_least: int = _HASHED_AT_ONCE) -> None:
        self.written += length
        if self.written - self.left_to >= at_least:
            self.jobs.append(self.beside.submit(self.take_in, self.left_to, self.written))
            self.left_to = self.written

    def take_in(self, start: int, end: int) -> None:
        for count in _chunks(end - start):
            self.hash.update(copying.read(self.file.descriptor, start, count))
            start += count


class _Compressed:
    """Compresses what goes on to `sink`; `before` hashes what it was."""

    def __init__(self, sink: _Sink, compressor: Compressor, before: _Hash | None = None) -> None:
        self.sink = sink
        self.compressor = compressor
        self.before = before

    def write(self, content: bytes | bytearray) -> None:
        if self.before is not None:
            self.before.update(content)
        self.sink.write(self.compressor.compress(content))

    def copy(self, source: int, offset: int, length: int) -> None:
        for count in _chunks(length):
            self.write(copying.read(source, offset, count))
            offset += count

    def zeros(self, length: int) -> None:
        for count in _chunks(length):
            self.write(bytes(count))

    def finish(self) -> None:
        self.sink.write(self.compressor.flush())
        self.sink.finish()


def _digest(hasher: _Hash) -> Digest:
    return Digest(hasher.name, hasher.hexdigest())


def _chunks(length: int) -> Iterator[int]:
    while length > 0:
        yield min(length, _CHUNK)
        length -= _CHUNK
