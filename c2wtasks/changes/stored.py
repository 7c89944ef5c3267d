"""Changes as they are stored: documents of JSON, a line each, compressed by themselves (zstandard).

A file of them can be read by `zstdcat`. A document is `{"version": 1, "changes": [...]}`, or, before the first of the
changes that refer to it, `{"details": ID, "packages": [...], "files": {...}}`: many bundles share one.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

import msgspec
import xxhash
import zstandard
from msgspec.structs import replace

from c2wtasks.changes.model import UNKNOWN, Change, Details, Files

VERSION = 1
"""Of the schema (docs/records.md): raised where a reader has to know of a change. What is merely more is none."""
MAX_DOCUMENT = 64 << 20
"""The most bytes of a document."""
MAX_FILE = 1 << 30
"""The most bytes of all documents of a file."""
MAX_FILES = 4 << 30
"""The most bytes of all documents of those files that are read for one answer."""

_DETAILS = b'{"details":"'
_ID = 32
_MOST_HEADER = 32  # bytes; of a frame's header, and more
_PIECE = 1 << 12  # bytes that are unpacked together: what they become fits into memory, whatever they are


class _Changes(msgspec.Struct, frozen=True):
    version: int
    changes: tuple[Change, ...]


_CHANGES = msgspec.json.Decoder(_Changes)
_OF_DETAILS = msgspec.json.Decoder(Details)
_encode = msgspec.json.Encoder().encode


class Room:
    """How many bytes of documents may still be unpacked: a few bytes of a file can stand for very many."""

    def __init__(self, left: int) -> None:
        self.left = left


def encode_details(details: Details) -> tuple[str, bytes]:
    """What is known under an ID, and its document."""
    text = _encode(details)[1:]
    name = xxhash.xxh3_128_hexdigest(text)
    return name, _packed(_DETAILS + name.encode() + b'",' + text)


def encode_changes(changes: Sequence[Change]) -> bytes:
    """The document of changes whose details, if they have any, have an ID."""
    plain = tuple(replace(one, packages=(), files=Files()) if one.details else one for one in changes)
    return _packed(_encode(_Changes(VERSION, plain)))


def _packed(text: bytes) -> bytes:
    made = zstandard.ZstdCompressor(write_checksum=True, write_content_size=True)
    return made.compress(text + b"\n")


def decode(content: bytes, room: Room, bundles: Container[str] | None = None) -> Iterator[Change]:
    """The changes in a file, of these bundles or of all, in their order, each with its details. What a run that was
    killed left unfinished at the end is passed over, as is what a later version has written, cannot be read, or is
    more than there is room for."""
    packed: dict[str, bytes] = {}
    known: dict[str, Details] = {}
    begin = 0
    for end, text in _documents(content, room):
        document, begin = content[begin:end], end
        if text.startswith(_DETAILS):
            at = len(_DETAILS)
            packed[text[at : at + _ID].decode("ascii", "replace")] = document
            continue
        try:
            found = _CHANGES.decode(text)
        except (ValueError, RecursionError):
            continue
        if found.version == VERSION:
            wanted = (one for one in found.changes if bundles is None or one.bundle in bundles)
            yield from (_whole(one, packed, known) for one in wanted)


def readable(content: bytes) -> int:
    """How many of the bytes of a file, from the first on, are whole documents."""
    return max((end for end, _ in _documents(content, Room(MAX_FILE))), default=0)


def _whole(change: Change, packed: dict[str, bytes], known: dict[str, Details]) -> Change:
    """A change with its details, which many share."""
    if not change.details:
        return change
    if change.details not in known:
        try:
            _, text = next(_documents(packed[change.details], Room(MAX_DOCUMENT)), (0, b""))
            known[change.details] = _OF_DETAILS.decode(text)
        except (KeyError, ValueError, RecursionError):
            known[change.details] = UNKNOWN
    details = known[change.details]
    return replace(change, packages=details.packages, files=details.files)


def _documents(content: bytes, room: Room) -> Iterator[tuple[int, bytes]]:
    """The documents, each with where it ends, up to one that cannot be read, or for which there is no room."""
    at = 0
    while at < len(content):
        try:
            size = zstandard.frame_content_size(content[at : at + _MOST_HEADER])
            if not 0 < size <= min(MAX_DOCUMENT, room.left):
                return
            room.left -= size
            unpacking, text = zstandard.ZstdDecompressor().decompressobj(), bytearray()
            while not unpacking.eof and at < len(content) and len(text) <= size:
                piece = content[at : at + _PIECE]
                text += unpacking.decompress(piece)
                at += len(piece) - len(unpacking.unused_data)
        except (zstandard.ZstdError, MemoryError):
            return
        if not unpacking.eof or len(text) != size:
            return
        yield at, bytes(text)
