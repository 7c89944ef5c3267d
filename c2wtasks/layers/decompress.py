"""Turns a layer's blob into its tar, told by content as containerd's `DecompressStream` does, whatever the media
type says: gzip (several members too), zstd (several frames, skippable ones too), or uncompressed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Protocol

CHUNK = 1 << 20
_HEAD = 10
_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class CorruptStream(ValueError):
    """The compressed data is damaged or ends too early."""


def compression(head: bytes) -> str:
    """ "gzip", "zstd" or "none", by the first bytes of a blob, 10 at least where it has them."""
    if head.startswith(_GZIP):
        return "gzip"
    skippable = len(head) >= 8 and int.from_bytes(head[:4], "little") & 0xFFFF_FFF0 == 0x184D_2A50
    return "zstd" if skippable or head.startswith(_ZSTD) else "none"


def plain_chunks(blob: Readable) -> Iterator[bytes]:
    """The uncompressed content of `blob`, a few MiB at a time at most, however much a chunk expands to.

    Raises CorruptStream.
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
        try:
            while not member.eof:
                data = data or blob.read(CHUNK)
                if not data:
                    raise CorruptStream("the gzip data ends too early")
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
    stream = zstandard.ZstdDecompressor().stream_reader(source, CHUNK, read_across_frames=True)
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
        content_size = (single, 2, 4, 8)[size_flag]
        yield flags + self._take(1 - single + (0, 1, 2, 4)[flags[0] & 3] + content_size)
        last = 0
        while not last:
            header = self._take(3)
            number = int.from_bytes(header, "little")
            last, run_length = number & 1, number >> 1 & 3 == 1
            yield header + self._take(1 if run_length else number >> 3)
        if flags[0] >> 2 & 1:
            yield self._take(4)
