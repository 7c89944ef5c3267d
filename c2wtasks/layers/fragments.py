"""The fragments of a sparse file: (offset in the file, length) of what is stored of it, in ascending order.

They are kept as bytes, 16 for each: a list of pairs takes eight times as much, and a kilobyte of a compressed layer
may state 100,000 of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct

Fragments = bytes

_PAIR = Struct("<qq")


def pack(pairs: Iterable[tuple[int, int]]) -> Fragments:
    """The fragments `pairs` as bytes. Neighbours are joined and empty ones left out: the content stays the same."""
    packed = bytearray()
    start = end = 0
    for at, length in pairs:
        if not length:
            continue
        if at != end:
            if end > start:
                packed += _PAIR.pack(start, end - start)
            start = at
        end = at + length
    if end > start:
        packed += _PAIR.pack(start, end - start)
    return bytes(packed)


def unpack(packed: Fragments) -> Iterator[tuple[int, int]]:
    """The fragments as pairs. None of them is empty, and none begins where the one before ends."""
    return _PAIR.iter_unpack(packed)


def in_tar(offset: int, fragments: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(place, length, offset in the tar) of each of (place, length), which lie in the tar one after the other from
    `offset` on."""
    for place, length in fragments:
        yield place, length, offset
        offset += length


def with_holes(size: int, offset: int, packed: Fragments | None) -> Iterator[tuple[int, int, int | None]]:
    """(offset in the file, length, offset in the tar, or None for a hole) of all parts of a file of `size` bytes, in
    order; one that is not sparse (None) has no holes."""
    reached = 0
    for at, length, found in in_tar(offset, unpack(packed) if packed is not None else [(0, size)] if size else []):
        if at > reached:
            yield reached, at - reached, None
        yield at, length, found
        reached = at + length
    if reached < size:
        yield reached, size - reached, None


def stored(packed: Fragments) -> int:
    """How many bytes the fragments have together."""
    return sum(length for _, length in unpack(packed))
