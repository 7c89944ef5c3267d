"""Turns a layer's blob into its tar, told by content as containerd's `DecompressStream` does, whatever the media
type says: gzip (several members too), zstd (several frames, skippable ones too), or uncompressed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Iterator
from typing import Any, Protocol

from c2wtasks.sources.feed import Feed

CHUNK = 1 << 20
_SMALL = CHUNK // 4
_FIRST_WINDOW, _LAST_WINDOW = 512, CHUNK // 4
_HEAD = 10
_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"

_GZIP_FIXED = 10  # bytes of a member's header that are always there; flags at 3 tell what follows
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT = 2, 4, 8, 16
_GZIP_ENDS = "the gzip data ends too early"
_BARE = _GZIP + bytes(_GZIP_FIXED - len(_GZIP))
_EMPTY_MEMBER = re.compile(rb"\x1f\x8b\x08\0.{6}(?:\x03\0|\x01\0\0\xff\xff)\0{8}", re.DOTALL)
_LONGEST_HEADER = 18  # of a zstd frame, magic number and all

MAX_WINDOW = 512 << 20
"""Bytes that the window of a zstd frame may have: what containerd reads."""
_MAX_SINGLE = 2 << 30  # a frame in a single segment is its own window; what libzstd has at most


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Some of the bytes, `size` at most; none at the end."""


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
    """The uncompressed content of `blob`, a few MiB at a time at most, however much a chunk expands to, and no tiny
    bits, however many it is made of.

    Raises CorruptStream, LargeWindow.
    """
    return chunks_from(head_of(blob), blob)


def head_of(blob: Readable) -> bytes:
    """The first bytes of `blob`, as many as tell its `compression`; all, where it has fewer."""
    head = blob.read(CHUNK)
    while len(head) < _HEAD and (more := blob.read(CHUNK)):
        head += more
    return head


def chunks_from(head: bytes, blob: Readable) -> Iterator[bytes]:
    """As `plain_chunks`, of a blob of which `head_of` was read."""
    match compression(head):
        case "gzip":
            yield from _gathered(_gunzip(Feed(blob.read, CHUNK, head)))
        case "zstd":
            yield from _gathered(_unzstd(blob, head))
        case _:
            while head:
                yield head
                head = blob.read(CHUNK)


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    small: list[bytes] = []
    size = 0
    for piece in pieces:
        if not small and len(piece) >= _SMALL:
            yield piece
            continue
        small.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(small)
            small, size = [], 0
    if small:
        yield b"".join(small)


def _gunzip(feed: Feed) -> Iterator[bytes]:
    """Members may be tiny, and many: each is given little at first, as what follows it is copied."""
    from isal import isal_zlib

    gzip_format = 31
    while True:
        member = isal_zlib.decompressobj(gzip_format)
        _skip_header(feed)
        member.decompress(_BARE)
        window = _FIRST_WINDOW
        try:
            while not member.eof:
                data = feed.take(window)
                if not data:
                    raise CorruptStream(_GZIP_ENDS)
                plain = member.decompress(data, 4 * CHUNK)
                feed.give_back(member.unused_data if member.eof else member.unconsumed_tail)
                if plain:
                    yield plain
                window = min(4 * window, _LAST_WINDOW)
        except isal_zlib.error as error:  # type: ignore[misc]
            raise CorruptStream(f"the gzip data is damaged: {_reason(error)}") from error
        feed.skip(_EMPTY_MEMBER)
        if feed.ahead(len(_GZIP)) != _GZIP:
            while data := feed.take(CHUNK):
                if data.strip(b"\0"):  # zeros are padding, as tape drives and some builders leave it
                    raise CorruptStream("the gzip data is followed by something else")
            return


def _skip_header(feed: Feed) -> None:
    """Takes the header of a gzip member (RFC 1952, 2.3), with all that may be left out: ISA-L forgets what it is at
    where such a field is cut, and takes no sum of a header for the right one."""
    head = _ahead(feed, _GZIP_FIXED)
    flags, at = head[3], _GZIP_FIXED
    if flags & _FEXTRA:
        at += 2 + int.from_bytes(_ahead(feed, at + 2)[at:], "little")
    for flag in (_FNAME, _FCOMMENT):
        if flags & flag:
            size = _FIRST_WINDOW
            while (end := feed.ahead(at + size).find(b"\0", at)) < 0:
                if size > CHUNK:
                    raise CorruptStream("the gzip data is damaged: a name or comment in its header has no end")
                _ahead(feed, at + size)
                size *= 4
            at = end + 1
    if flags & _FHCRC:
        head = _ahead(feed, at + 2)
        if zlib.crc32(head[:at]) & 0xFFFF != int.from_bytes(head[at:], "little"):
            raise CorruptStream("the gzip data is damaged: the checksum of its header is wrong")
        at += 2
    _ahead(feed, at)
    while at:
        at -= len(feed.take(at))


def _ahead(feed: Feed, count: int) -> bytes:
    found = feed.ahead(count)
    if len(found) < count:
        raise CorruptStream(_GZIP_ENDS)
    return found


def _reason(error: Exception) -> str:
    """What a decompressor says, without its own name or number: "Incorrect checksum found"."""
    return re.sub(r"^(Error -?\d+|zstd decompress error:) ", "", str(error))


def _unzstd(blob: Readable, head: bytes) -> Iterator[bytes]:
    import zstandard

    source: Any = _CheckedZstd(head, blob)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_SINGLE)
    stream = decompressor.stream_reader(source, CHUNK, read_across_frames=True)
    try:
        while plain := stream.read(CHUNK):
            yield plain
    except zstandard.ZstdError as error:
        raise CorruptStream(f"the zstd data is damaged: {_reason(error)}") from error


class _CheckedZstd:
    """Passes zstd data on as it is, following RFC 8878 just far enough to see whether it ends where a frame ends: the
    decompressor does not tell. Frames and blocks may be tiny, and many."""

    def __init__(self, head: bytes, blob: Readable) -> None:
        self._head, self._blob = head, blob
        self._between_frames = True
        self._frames = self._follow()
        next(self._frames)

    def read(self, _size: int, /) -> bytes:
        data, self._head = self._head or self._blob.read(CHUNK), b""
        if data:
            self._frames.send(data)
        elif not self._between_frames:
            raise CorruptStream("the zstd data ends too early")
        return data

    def _follow(self) -> Generator[None, bytes, None]:
        """Follows the data, which it is sent piece by piece."""
        data, at = b"", 0
        while True:
            while at > len(data):  # behind what is skipped, a block or so
                at -= len(data)
                data = yield
            while not self._has_header(data, at):
                self._between_frames = at == len(data)
                data, at = data[at:] + (yield), 0
                self._between_frames = False
            magic = data[at : at + 4]
            at += 4
            if magic != _ZSTD:
                at += 4 + int.from_bytes(data[at : at + 4], "little")
                continue
            has_checksum = data[at] >> 2 & 1
            at += _frame_header(data[at : at + _LONGEST_HEADER])
            last = 0
            while not last:
                while len(data) - at < 3:
                    if at > len(data):
                        at -= len(data)
                        data = yield
                    else:
                        data, at = data[at:] + (yield), 0
                number = data[at] | data[at + 1] << 8 | data[at + 2] << 16
                last = number & 1
                at += 4 if number & 6 == 2 else 3 + (number >> 3)  # a run is a single byte
            at += 4 * has_checksum

    @staticmethod
    def _has_header(data: bytes, at: int) -> bool:
        """Whether the whole header of a frame is there.

        Raises CorruptStream: there is something else.
        """
        magic = data[at : at + 4]
        if len(magic) < 4:
            return False
        if magic == _ZSTD:
            return len(data) > at + 4 and len(data) >= at + 4 + _frame_header_size(data[at + 4])
        if compression(magic + bytes(4)) != "zstd":
            raise CorruptStream("the zstd data is followed by something else")
        return len(data) >= at + 8


def _frame_header_size(flags: int) -> int:
    """The bytes of a frame's header behind the magic number, by the `flags` at its beginning."""
    single = flags >> 5 & 1
    return 2 - single + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]


def _frame_header(header: bytes) -> int:
    """The bytes of the `header` of a frame, behind the magic number, which is there whole.

    Raises LargeWindow.
    """
    flags = header[0]
    size = _frame_header_size(flags)
    if flags >> 5 & 1:
        size_of_size = (1, 2, 4, 8)[flags >> 6]
        _check_window(int.from_bytes(header[size - size_of_size : size], "little"), _MAX_SINGLE)
    else:
        _check_window((8 + (header[1] & 7) << 10 + (header[1] >> 3)) >> 3, MAX_WINDOW)
    return size


def _check_window(size: int, most: int) -> None:
    """Raises LargeWindow: a window of `size` bytes is more than `most`."""
    if size > most:
        raise LargeWindow(f"its zstd data has a window of {size} bytes, and {most} are read at most")
