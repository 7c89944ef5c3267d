"""Turns a layer's blob into its tar, told by content as containerd's `DecompressStream` does, whatever the media
type says: gzip (several members too), zstd (several frames, skippable ones too), or uncompressed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

CHUNK = 1 << 20
_HEAD = 10
_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"

_GZIP_FIXED = 10  # bytes of a member's header that are always there; flags at 3 tell what follows
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT = 2, 4, 8, 16
_GZIP_ENDS = "the gzip data ends too early"
_BARE = _GZIP + bytes(_GZIP_FIXED - len(_GZIP))

MAX_WINDOW = 512 << 20
"""Of a zstd frame, in bytes: what containerd reads."""
_MAX_SINGLE = 2 << 30  # a frame in a single segment is its own window; what libzstd has at most


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class CorruptStream(ValueError):
    """The compressed data is damaged or ends too early."""


class LargeWindow(ValueError):
    """The compressed data is good, but takes more memory than we give it."""


def compression(head: bytes) -> str:
    """ "gzip", "zstd" or "none", by the first bytes of a blob, 10 at least where it has them."""
    if head.startswith(_GZIP):
        return "gzip"
    skippable = len(head) >= 8 and int.from_bytes(head[:4], "little") & 0xFFFF_FFF0 == 0x184D_2A50
    return "zstd" if skippable or head.startswith(_ZSTD) else "none"


def plain_chunks(blob: Readable) -> Iterator[bytes]:
    """The uncompressed content of `blob`, a few MiB at a time at most, however much a chunk expands to.

    Raises CorruptStream, LargeWindow.
    """
    head = blob.read(CHUNK)
    while len(head) < _HEAD and (more := blob.read(CHUNK)):
        head += more
    match compression(head):
        case "gzip":
            yield from _gunzip(blob, head)
        case "zstd":
            yield from _unzstd(blob, head)
        case _:
            while head:
                yield head
                head = blob.read(CHUNK)


def _gunzip(blob: Readable, data: bytes) -> Iterator[bytes]:
    from isal import isal_zlib

    gzip_format = 31
    while True:
        member = isal_zlib.decompressobj(gzip_format)
        data = _with_bare_header(blob, data)
        try:
            while not member.eof:
                data = data or blob.read(CHUNK)
                if not data:
                    raise CorruptStream(_GZIP_ENDS)
                plain = member.decompress(data, 4 * CHUNK)
                data = member.unconsumed_tail
                if plain:
                    yield plain
        except isal_zlib.error as error:  # type: ignore[misc]
            raise CorruptStream(f"the gzip data is damaged: {_reason(error)}") from error
        data = member.unused_data
        while len(data) < len(_GZIP) and (more := blob.read(CHUNK)):
            data += more
        if not data.startswith(_GZIP):
            while data:
                if data.strip(b"\0"):  # zeros are padding, as tape drives and some builders leave it
                    raise CorruptStream("the gzip data is followed by something else")
                data = blob.read(CHUNK)
            return


def _with_bare_header(blob: Readable, data: bytes) -> bytes:
    """`data`, the beginning of a gzip member (RFC 1952, 2.3), its header without all that may be left out: ISA-L
    forgets what it is at where such a field is cut, and takes no sum of a header for the right one."""
    at = _GZIP_FIXED

    def read_to(end: int) -> None:
        nonlocal data
        while len(data) < end:
            more = blob.read(CHUNK)
            if not more:
                raise CorruptStream(_GZIP_ENDS)
            data += more

    read_to(at)
    flags = data[3]
    if flags & _FEXTRA:
        read_to(at + 2)
        at += 2 + int.from_bytes(data[at : at + 2], "little")
        read_to(at)
    for flag in (_FNAME, _FCOMMENT):
        if flags & flag:
            searched = at
            while (end := data.find(b"\0", searched)) < 0:
                searched = len(data)
                if searched - at > CHUNK:
                    raise CorruptStream("the gzip data is damaged: a name or comment in its header has no end")
                read_to(searched + 1)
            at = end + 1
    if flags & _FHCRC:
        read_to(at + 2)
        if zlib.crc32(data[:at]) & 0xFFFF != int.from_bytes(data[at : at + 2], "little"):
            raise CorruptStream("the gzip data is damaged: the checksum of its header is wrong")
        at += 2
    return data if at == _GZIP_FIXED and not flags else _BARE + data[at:]


def _reason(error: Exception) -> str:
    """What a decompressor says, without its own name or number: "Incorrect checksum found"."""
    return re.sub(r"^(Error -?\d+|zstd decompress error:) ", "", str(error))


class _Joined:
    """`head` and then the rest of `blob`."""

    def __init__(self, head: bytes, blob: Readable) -> None:
        self._head, self._blob = head, blob

    def read(self, size: int, /) -> bytes:
        if not self._head:
            return self._blob.read(size)
        part, self._head = self._head[:size], self._head[size:]
        return part


def _unzstd(blob: Readable, head: bytes) -> Iterator[bytes]:
    import zstandard

    source: Any = _ZstdParts(_Joined(head, blob))
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_SINGLE)
    stream = decompressor.stream_reader(source, CHUNK, read_across_frames=True)
    try:
        while plain := stream.read(4 * CHUNK):
            yield plain
    except zstandard.ZstdError as error:
        raise CorruptStream(f"the zstd data is damaged: {_reason(error)}") from error


class _ZstdParts:
    """Passes zstd data on block by block, following RFC 8878 just far enough to see whether it ends where a frame
    ends: the decompressor does not tell."""

    def __init__(self, blob: Readable) -> None:
        self._blob = blob
        self._parts = self._frames()

    def read(self, _size: int, /) -> bytes:
        return next(self._parts, b"")

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._blob.read(count - len(data))
            if not more:
                raise CorruptStream("the zstd data ends too early")
            data += more
        return data

    def _frames(self) -> Iterator[bytes]:
        while magic := self._blob.read(1):
            magic += self._take(3)
            if magic == _ZSTD:
                yield magic
                yield from self._blocks()
            elif compression(magic + bytes(4)) == "zstd":
                size = self._take(4)
                yield magic + size
                left = int.from_bytes(size, "little")
                while left:
                    part = self._take(min(left, CHUNK))
                    left -= len(part)
                    yield part
            else:
                raise CorruptStream("the zstd data is followed by something else")

    def _blocks(self) -> Iterator[bytes]:
        """A frame's header, blocks and checksum."""
        flags = self._take(1)
        single, size_flag = flags[0] >> 5 & 1, flags[0] >> 6
        size_of_size = (single, 2, 4, 8)[size_flag]
        header = self._take(1 - single + (0, 1, 2, 4)[flags[0] & 3] + size_of_size)
        if single:
            _check_window(int.from_bytes(header[-size_of_size:], "little"), _MAX_SINGLE)
        else:
            _check_window((8 + (header[0] & 7) << 10 + (header[0] >> 3)) >> 3, MAX_WINDOW)
        yield flags + header
        last = 0
        while not last:
            header = self._take(3)
            number = int.from_bytes(header, "little")
            last, run_length = number & 1, number >> 1 & 3 == 1
            yield header + self._take(1 if run_length else number >> 3)
        if flags[0] >> 2 & 1:
            yield self._take(4)


def _check_window(size: int, most: int) -> None:
    """Raises LargeWindow."""
    if size > most:
        raise LargeWindow(f"its zstd data has a window of {size} bytes, and {most} are read at most")
