"""What a compressed file unpacks to, read from any offset on, with nothing unpacked to a disk.

gzip, which nearly all compressed archives are, is gone through once: at every few MiB the decompressor is copied, and
whatever is read later begins at the copy before it. (So does zlib's example `zran`; a copy is some 40 KiB.) The other
forms have no such copies, and are read from the start again whenever what is wanted lies behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EIO
from functools import lru_cache
from typing import Any, Protocol

_SIGNS = {
    b"\x1f\x8b\x08": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
}
_CHUNK = 1 << 18
_EVERY = 8 << 20  # bytes between two copies of a decompressor, at first
_MOST = 256  # copies of a file
_ZSTD_WINDOW = 512 << 20
_FREE = 4 << 30
_RATIO = 200
_GZIP_FORMAT = 31


def compression_of(start: bytes) -> str:
    """ "gzip", "zstd", "xz" or "bzip2", by the first bytes of a file; "" for all else."""
    return next((form for sign, form in _SIGNS.items() if start.startswith(sign)), "")


class Unpacked:
    """What the file of `descriptor`, which stays the caller's, unpacks to. Not for several threads at once."""

    def __init__(self, descriptor: int, compression: str) -> None:
        self._packed_size = os.fstat(descriptor).st_size
        self._compression = compression
        self._stream = _Gzip(descriptor) if compression == "gzip" else _Forward(descriptor, compression)

    def read_at(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on; fewer only where the end is, none from there on.

        Raises OSError: the data is damaged or ends too early, or there is far more than an image ever has.
        """
        if not count:
            return b""
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
            raise self._damaged(f"is damaged: {error}") from error
        except OSError as error:
            if error.errno is None:  # not the system's, but the decompressor's of bzip2
                raise self._damaged(f"is damaged: {error}") from error
            raise
        return content

    def _check_ratio(self) -> None:
        if self._stream.at > _FREE + _RATIO * self._packed_size:
            raise self._damaged(f"unpacks to more than {_RATIO} times its size, as no image does")

    def _damaged(self, wrong: str) -> OSError:
        return OSError(EIO, f"the {self._compression} data {wrong}")


def _errors() -> tuple[type[Exception], ...]:
    """What decompressors raise, but for EOFError."""
    import lzma
    import zlib

    import zstandard

    return zlib.error, lzma.LZMAError, zstandard.ZstdError, ValueError


class _Stream(Protocol):
    at: int

    def go_near(self, offset: int) -> None:
        """To a place that is not behind `offset`."""

    def read(self, count: int) -> bytes:
        """`count` bytes at most; none at the end."""


class _Forward:
    """By a decompressor that only goes forward."""

    def __init__(self, descriptor: int, compression: str) -> None:
        self._descriptor = descriptor
        self._open = _OPENERS[compression]
        self._plain: Any = None
        self.at = 0

    def go_near(self, offset: int) -> None:
        if self._plain is None or offset < self.at:
            self._plain = self._open(_Packed(self._descriptor))
            self.at = 0

    def read(self, count: int) -> bytes:
        content: bytes = self._plain.read(min(count, _CHUNK))
        self.at += len(content)
        return content


class _Packed:
    """The file, from its start, without moving the place where others read it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        content = os.pread(self._descriptor, _CHUNK if count < 0 else min(count, _CHUNK), self._at)
        self._at += len(content)
        return content

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def _xz(packed: Any) -> Any:
    import lzma

    return lzma.LZMAFile(packed)


def _bzip2(packed: Any) -> Any:
    import bz2

    return bz2.BZ2File(packed)


def _zstd(packed: Any) -> Any:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    return decompressor.stream_reader(packed, _CHUNK, read_across_frames=True)


_OPENERS: dict[str, Callable[[Any], Any]] = {"xz": _xz, "bzip2": _bzip2, "zstd": _zstd}


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
    """Those of the file that has this stat: processes that are forked have what was found before."""
    return _Points()


class _Gzip:
    def __init__(self, descriptor: int) -> None:
        stat = os.fstat(descriptor)
        self._descriptor = descriptor
        self._points = _points(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        self._begin(_Point(0, 0, _gunzip()))

    def _begin(self, point: _Point) -> None:
        self.at, self._packed, self._decompressor = point.plain, point.packed, point.decompressor
        self._data = b""

    def go_near(self, offset: int) -> None:
        point = self._points.before(offset)
        if offset < self.at or (point is not None and point.plain > self.at):
            self._begin(point or _Point(0, 0, _gunzip()))

    def read(self, count: int) -> bytes:
        while True:
            if self._decompressor.eof and not self._next_member():
                return b""
            if not self._data:
                self._data = self._more()
                if not self._data:
                    raise EOFError
            content: bytes = self._decompressor.decompress(self._data, min(count, 4 * _CHUNK))
            self._data = self._decompressor.unused_data or self._decompressor.unconsumed_tail
            self.at += len(content)
            if not self._decompressor.eof:
                self._points.reached(self.at, self._packed - len(self._data), self._decompressor)
            if content:
                return content

    def _more(self) -> bytes:
        content = os.pread(self._descriptor, _CHUNK, self._packed)
        self._packed += len(content)
        return content

    def _next_member(self) -> bool:
        """Whether another member follows; what else may, such as padding, ends the data."""
        while len(self._data) < 3 and (more := self._more()):
            self._data += more
        if compression_of(self._data) != "gzip":
            return False
        self._decompressor = _gunzip()
        return True


def _gunzip() -> Any:
    import zlib

    return zlib.decompressobj(_GZIP_FORMAT)
