"""Turns a layer's blob into its tar, told by content as containerd's `DecompressStream` does, whatever the media
type says: gzip (several members too), zstd (several frames, skippable ones too), or uncompressed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

CHUNK = 1 << 20
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
            raise CorruptStream(f"the gzip data is damaged: {error}") from error
        data = member.unused_data or blob.read(CHUNK)
        while data and not data.strip(b"\0"):  # padding, as tape drives and some builders leave it
            data = blob.read(CHUNK)
        if not data:
            return
        if len(data) < len(_GZIP):
            data += blob.read(CHUNK)
        if not data.startswith(_GZIP):
            raise CorruptStream("the gzip data is followed by something else")


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

    source: Any = _Joined(head, blob)
    stream = zstandard.ZstdDecompressor().stream_reader(source, CHUNK, read_across_frames=True)
    try:
        while plain := stream.read(4 * CHUNK):
            yield plain
    except zstandard.ZstdError as error:
        raise CorruptStream(f"the zstd data is damaged: {error}") from error
