"""What a compressed file unpacks to, read from any offset on, with nothing unpacked to a disk.

gzip, which nearly all compressed archives are, is gone through once: at every few MiB the decompressor is copied, and
whatever is read later begins at the copy before it. (So does zlib's example `zran`; a copy is some 40 KiB.) The other
decompressors cannot be copied: the file is read from the start again whenever what is wanted lies behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EIO
from functools import lru_cache
from typing import Any, Protocol

from c2wtasks.sources.feed import Feed

_SIGNS = {
    b"\x1f\x8b\x08": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
}
_CHUNK = 1 << 18
_FIRST_WINDOW = 512
_EVERY = 8 << 20  # bytes between two copies of a decompressor, at first
_MOST = 256  # copies of a file
_ZSTD_WINDOW = 512 << 20
_XZ_MEMORY = 160 << 20  # bytes: xz -9 takes 65 MiB
_MOST_KEPT, _PER_PART = 8 << 20, 150  # bytes
_FREE = 4 << 30  # bytes that any file may unpack to, and how often a larger one may hold its own size beyond these
_RATIO = 200
_GZIP_FORMAT = 31


def compression_of(start: bytes) -> str:
    """ "gzip", "zstd", "xz" or "bzip2", by the first bytes of a file; "" for all else."""
    return next((name for sign, name in _SIGNS.items() if start.startswith(sign)), "")


@dataclass(slots=True)
class _Kept:
    """Parts of what a file unpacks to, by their offset."""

    found: dict[int, bytes] = field(default_factory=dict)
    room: int = _MOST_KEPT

    def add(self, offset: int, content: bytes) -> None:
        size = len(content) + _PER_PART
        if size <= self.room and offset not in self.found:
            self.found[offset] = content
            self.room -= size


class Unpacked:
    """What the file of `descriptor`, which stays the caller's, unpacks to. Not for several threads at once."""

    def __init__(self, descriptor: int, compression: str) -> None:
        stat = os.fstat(descriptor)
        file = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        self._packed_size = stat.st_size
        self._compression = compression
        self._kept = _kept(*file)
        self._stream = _Gzip(descriptor, file) if compression == "gzip" else _Forward(descriptor, compression)

    def keep(self, offset: int, count: int) -> bytes:
        """Like `read_at`, of what is sure to be wanted again: some of that is kept in memory, as the documents of an
        image lie anywhere, and each may be behind all of its layers.

        Raises OSError.
        """
        content = self.read_at(offset, count)
        if self._compression != "gzip":
            self._kept.add(offset, content)
        return content

    def read_at(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on; fewer only where the end is, none from there on.

        Raises OSError: the data is damaged or ends too early, or there is far more than an image ever has.
        """
        if not count:
            return b""
        if len(kept := self._kept.found.get(offset, b"")) >= count:
            return kept[:count]
        try:
            self._stream.go_near(offset)
            while self._stream.at < offset and self._stream.read(offset - self._stream.at):
                self._check_ratio()
            if self._stream.at < offset:
                return b""
            content = self._stream.read(count)
            while len(content) < count and (more := self._stream.read(count - len(content))):
                content += more
        except EOFError:
            raise self._damaged("ends too early") from None
        except _errors() as error:
            if isinstance(error, OSError) and error.errno is not None:  # the system's
                raise
            if "Memory usage limit" in str(error):
                raise self._damaged(f"takes more memory than the {_XZ_MEMORY} bytes that it is given") from error
            raise self._damaged(f"is damaged: {error}") from error
        return content

    def _check_ratio(self) -> None:
        if self._stream.at > _FREE + _RATIO * self._packed_size:
            raise self._damaged(f"unpacks to more than {_RATIO} times its size, as no image does")

    def _damaged(self, wrong: str) -> OSError:
        return OSError(EIO, f"the {self._compression} data {wrong}")


def _errors() -> tuple[type[Exception], ...]:
    """What decompressors raise, but for EOFError. (That of bzip2 raises OSError.)"""
    import lzma
    import zlib

    import zstandard

    return zlib.error, lzma.LZMAError, zstandard.ZstdError, ValueError, OSError


class _Stream(Protocol):
    """What a file unpacks to, read from the offset `at` on."""

    at: int

    def go_near(self, offset: int) -> None:
        """Goes to a place that is not behind `offset`."""

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at most; none at the end."""


class _Forward:
    """A `_Stream` by a decompressor that only goes forward."""

    def __init__(self, descriptor: int, compression: str) -> None:
        self._descriptor = descriptor
        self._open = _OPENERS[compression]
        self._plain: _Plain | None = None
        self.at = 0

    def go_near(self, offset: int) -> None:
        if self._plain is None or offset < self.at:
            self._plain = self._open(_Packed(self._descriptor))
            self.at = 0

    def read(self, count: int) -> bytes:
        assert self._plain is not None, "go_near comes first"
        content = self._plain.read(min(count, _CHUNK))
        self.at += len(content)
        return content


class _Plain(Protocol):
    def read(self, count: int, /) -> bytes: ...


class _Packed:
    """The file, from the offset `at` on, without moving the place where others read it."""

    def __init__(self, descriptor: int, at: int = 0) -> None:
        self._descriptor = descriptor
        self.at = at

    def read(self, count: int = -1) -> bytes:
        content = os.pread(self._descriptor, _CHUNK if count < 0 else min(count, _CHUNK), self.at)
        self.at += len(content)
        return content


class _Members:
    """Data of one compressed part after the other, as xz and bzip2 take it: what follows the last is passed over.

    A part is given little at first, as what follows it is copied: there may be many tiny ones.
    """

    def __init__(self, packed: _Packed, decompressor: Callable[[], Any]) -> None:
        self._feed = Feed(packed.read, _CHUNK)
        self._new = decompressor
        self._begin()
        self._is_first = True

    def _begin(self) -> None:
        self._decompressor = self._new()
        self._window = _FIRST_WINDOW
        self._is_first = False

    def read(self, count: int, /) -> bytes:
        while True:
            if self._decompressor.eof:
                self._feed.give_back(self._decompressor.unused_data)
                if not self._feed.ahead(_FIRST_WINDOW):
                    return b""
                self._begin()
            data = b""
            if self._decompressor.needs_input:
                data = self._feed.take(self._window)
                if not data:
                    raise EOFError
            try:
                content: bytes = self._decompressor.decompress(data, count)
            except _errors():
                if self._is_first or self._window > _FIRST_WINDOW:
                    raise
                return b""
            self._window = min(4 * self._window, _CHUNK)
            if content:
                return content


def _xz(packed: _Packed) -> _Plain:
    import lzma

    return _Members(packed, lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY))


def _bzip2(packed: _Packed) -> _Plain:
    import bz2

    return _Members(packed, bz2.BZ2Decompressor)


def _zstd(packed: Any) -> _Plain:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    stream: _Plain = decompressor.stream_reader(packed, _CHUNK, read_across_frames=True)
    return stream


_OPENERS: dict[str, Callable[[_Packed], _Plain]] = {"xz": _xz, "bzip2": _bzip2, "zstd": _zstd}


@dataclass(frozen=True, slots=True)
class _Point:
    """A decompressor as it is at `plain`, bytes of what the file unpacks to; it goes on at `packed` of the file."""

    plain: int
    packed: int
    decompressor: Any


@dataclass(slots=True)
class _Points:
    """The places where reading a file can begin, in their order."""

    found: list[_Point] = field(default_factory=list)
    every: int = _EVERY
    lock: threading.Lock = field(default_factory=threading.Lock)

    def before(self, offset: int) -> _Point | None:
        """The last one that is not behind `offset`, its decompressor to be used as one likes."""
        with self.lock:
            best = next((point for point in reversed(self.found) if point.plain <= offset), None)
            return best and _Point(best.plain, best.packed, best.decompressor.copy())

    def reached(self, plain: int, packed: int, decompressor: Any) -> None:
        with self.lock:
            if plain >= (self.found[-1].plain if self.found else 0) + self.every:
                self.found.append(_Point(plain, packed, decompressor.copy()))
                if len(self.found) > _MOST:
                    self.every *= 2
                    self.found = self.found[1::2]


@lru_cache(8)
def _points(_device: int, _inode: int, _size: int, _mtime_ns: int, _ctime_ns: int) -> _Points:
    """The points of the file that has this stat: processes that are forked have what was found before."""
    return _Points()


@lru_cache(8)
def _kept(_device: int, _inode: int, _size: int, _mtime_ns: int, _ctime_ns: int) -> _Kept:
    """What is kept of the file that has this stat."""
    return _Kept()


class _Gzip:
    """A `_Stream` by copies of a decompressor, one every few MiB."""

    def __init__(self, descriptor: int, file: tuple[int, int, int, int, int]) -> None:
        self._descriptor = descriptor
        self._points = _points(*file)
        self._begin(_Point(0, 0, _gunzip()))

    def _begin(self, point: _Point) -> None:
        self.at, self._decompressor = point.plain, point.decompressor
        self._packed = _Packed(self._descriptor, point.packed)
        self._feed = Feed(self._packed.read, _CHUNK)
        self._window = _FIRST_WINDOW

    def go_near(self, offset: int) -> None:
        point = self._points.before(offset)
        if offset < self.at or (point is not None and point.plain > self.at):
            self._begin(point or _Point(0, 0, _gunzip()))

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at most; none at the end. Members may be tiny, and many: each is given little at
        first, as what follows it is copied."""
        while True:
            if self._decompressor.eof:
                if compression_of(self._feed.ahead(3)) != "gzip":  # padding, or whatever ends the data
                    return b""
                self._decompressor, self._window = _gunzip(), _FIRST_WINDOW
            data = self._feed.take(self._window)
            if not data:
                raise EOFError
            content: bytes = self._decompressor.decompress(data, min(count, 4 * _CHUNK))
            self._feed.give_back(self._decompressor.unused_data or self._decompressor.unconsumed_tail)
            self._window = min(4 * self._window, _CHUNK)
            self.at += len(content)
            if not self._decompressor.eof:
                self._points.reached(self.at, self._packed.at - self._feed.left, self._decompressor)
            if content:
                return content


def _gunzip() -> Any:
    import zlib

    return zlib.decompressobj(_GZIP_FORMAT)
