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
    """Neighbours are joined and empty ones left out: that changes nothing of the content."""
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
    """None of them is empty, and none begins where the one before ends."""
    return _PAIR.iter_unpack(packed)


def stored(packed: Fragments) -> int:
    """How many bytes they have together."""
    return sum(length for _, length in unpack(packed))
