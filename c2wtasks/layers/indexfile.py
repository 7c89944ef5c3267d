"""The file of a layer's index: its entries, in batches that are sealed one by one, so that none has to be in memory
but the one at hand.

8 bytes   magic: kind and version
...       batches: 4 bytes, the length of what follows (least first); msgpack of some entries, sealed
4 bytes   zero
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import BinaryIO

import msgspec

from c2wtasks.disk import safely
from c2wtasks.disk.sealed import seal, unseal
from c2wtasks.layers import mapped
from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.layers.tarlimits import ArchiveError

LAYER_MAGIC = b"c2wlayr\x02"
MAX_ENTRIES = 1 << 20
"""Entries that a layer may have."""

_BATCH = 1024
_LARGE = 1 << 20  # bytes of xattrs and fragments: a batch that has as many is full
_MAX_BATCH = 64 << 20  # bytes
_MAPPED = 32 << 20  # bytes of a tar that may be mapped behind what is read
_LENGTH = Struct("<I")
_ENTRIES = msgspec.msgpack.Decoder(list[TarEntry])


def pieces(entries: Iterable[TarEntry]) -> Iterator[bytes]:
    """The content of a layer's index, in order.

    Raises ArchiveError: there are more entries than are read; and what `entries` raises.
    """
    yield LAYER_MAGIC
    for batch in _batches(entries):
        sealed = seal(b"", batch)
        yield _LENGTH.pack(len(sealed)) + sealed
    yield _LENGTH.pack(0)


def _batches(entries: Iterable[TarEntry]) -> Iterator[list[TarEntry]]:
    batch: list[TarEntry] = []
    large = count = 0
    for entry in entries:
        batch.append(entry)
        if entry.xattrs is not None or entry.sparse is not None:
            large += _size(entry)
        if len(batch) == _BATCH or large >= _LARGE:
            count += len(batch)
            _check_count(count, batch)
            yield batch
            batch, large = [], 0
    if batch:
        _check_count(count + len(batch), batch)
        yield batch


def _check_count(count: int, batch: list[TarEntry]) -> None:
    """Raises ArchiveError."""
    if count > MAX_ENTRIES:
        name = batch[0].name.decode("utf-8", "backslashreplace")
        raise ArchiveError(f"more entries than are read ({MAX_ENTRIES}), near {name!r}")


def _size(entry: TarEntry) -> int:
    xattrs = entry.xattrs or {}
    return len(entry.sparse or b"") + sum(map(len, xattrs)) + sum(map(len, xattrs.values()))


def pieces_of(tar: int) -> Iterator[bytes]:
    """The content of the index of the tar that is open as `tar`, in order.

    Raises ArchiveError, OSError.
    """
    with mapped.content(tar) as content:
        yield from pieces(_let_go(content))


def _let_go(content: mapped.Content) -> Iterator[TarEntry]:
    """The entries of the tar in `content`; those parts of it that were read do not stay in memory."""
    kept = 0
    for entry in read_entries(content):
        yield entry
        if entry.header - kept >= _MAPPED:
            kept = mapped.forget(content, kept, entry.header)


def read(path: str) -> Iterator[TarEntry]:
    """The entries in the index at `path`, in order. Each was checked; that none is missing shows at the end.

    Raises OSError; ValueError: the index is damaged, or of another version.
    """
    with open(safely.open_file(path), "rb") as stream:
        if stream.read(len(LAYER_MAGIC)) != LAYER_MAGIC:
            raise ValueError("it is of another version")
        while length := _length(stream):
            yield from unseal(b"", stream.read(length), _ENTRIES)
        if stream.read(1):
            raise ValueError("it is damaged")


def _length(stream: BinaryIO) -> int:
    """The bytes of the next batch, 0 at the end. Raises ValueError."""
    field = stream.read(_LENGTH.size)
    length: int = _LENGTH.unpack(field)[0] if len(field) == _LENGTH.size else -1
    if not 0 <= length <= _MAX_BATCH:
        raise ValueError("it is damaged")
    return length


def is_current(path: str) -> bool:
    """Whether an index of this version stands at `path` (its content is checked when it is read)."""
    try:
        descriptor = safely.open_file(path)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(LAYER_MAGIC)) == LAYER_MAGIC
    except OSError:
        return False
    finally:
        os.close(descriptor)
