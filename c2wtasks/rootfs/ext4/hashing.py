"""The hash that orders the names of a large directory: half MD4 of unsigned bytes, with the image's seed.

That is MD4's compression function (RFC 1320) with rounds of 8 steps instead of 16, on 32 bytes of the name at a time;
"ext4 Data Structures and Algorithms", "Hash Tree Directories", names it.

Python takes as long for a step on one number as on some hundred: so the numbers of many names lie side by side in
one, each 32 bits in a lane of 64, which leaves room for carries.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from struct import pack, unpack

HALF_MD4 = 1

_CHUNK = 32
_WORDS = 8
_LANES = 1024
_LAST_HASH = 0xFFFF_FFFE
_FIRST = ((0, 3), (1, 7), (2, 11), (3, 19), (4, 3), (5, 7), (6, 11), (7, 19))  # (word, bits to turn) of each step
_SECOND = ((1, 3), (3, 5), (5, 9), (7, 13), (0, 3), (2, 5), (4, 9), (6, 13))
_THIRD = ((3, 3), (7, 9), (2, 11), (6, 15), (1, 3), (5, 9), (0, 11), (4, 15))
_ROOT_OF_2 = 0x5A82_7999
_ROOT_OF_3 = 0x6ED9_EBA1


def name_hashes(names: Iterable[bytes], seed: bytes) -> array[int]:
    """The hash of each name: even, and never the number that means the end of a directory."""
    hashes = array("I")
    waiting: dict[int, dict[int, bytes]] = {}  # by how many chunks a name has

    def take(chunks: int) -> None:
        part = waiting.pop(chunks)
        for index, value in zip(part, _hashes(list(part.values()), chunks, seed), strict=True):
            value &= ~1
            hashes[index] = value if value != _LAST_HASH else _LAST_HASH - 2

    for index, name in enumerate(names):
        hashes.append(0)
        chunks = -(-len(name) // _CHUNK)
        part = waiting.setdefault(chunks, {})
        part[index] = name
        if len(part) == _LANES:
            take(chunks)
    for chunks in list(waiting):
        take(chunks)
    return hashes


def _hashes(names: list[bytes], chunks: int, seed: bytes) -> tuple[int, ...]:
    """The hashes of names that have so many chunks each."""
    count = len(names)
    ones = _in_lanes((1,) * count)
    mask = ones * 0xFFFF_FFFF
    a0, b0, c0, d0 = (word * ones for word in unpack("<4I", seed))
    second, third = _ROOT_OF_2 * ones, _ROOT_OF_3 * ones
    for at in range(0, chunks * _CHUNK, _CHUNK):
        all_words = unpack(f">{_WORDS * count}I", b"".join([_padded(name[at:]) for name in names]))
        words = [_in_lanes(all_words[number::_WORDS]) for number in range(_WORDS)]
        a, b, c, d = a0, b0, c0, d0
        for word, turn in _FIRST:
            a = (a + (d ^ (b & (c ^ d))) + words[word]) & mask
            a, b, c, d = d, (a << turn | a >> (32 - turn)) & mask, b, c
        for word, turn in _SECOND:
            a = (a + (b & c) + ((b ^ c) & d) + words[word] + second) & mask
            a, b, c, d = d, (a << turn | a >> (32 - turn)) & mask, b, c
        for word, turn in _THIRD:
            a = (a + (b ^ c ^ d) + words[word] + third) & mask
            a, b, c, d = d, (a << turn | a >> (32 - turn)) & mask, b, c
        a0, b0, c0, d0 = (a0 + a) & mask, (b0 + b) & mask, (c0 + c) & mask, (d0 + d) & mask
    return unpack(f"<{count}Q", b0.to_bytes(8 * count, "little"))


def _in_lanes(numbers: tuple[int, ...]) -> int:
    return int.from_bytes(pack(f"<{len(numbers)}Q", *numbers), "little")


def _padded(rest: bytes) -> bytes:
    """The next chunk. A word that the name ends in has its bytes last, and the padding first."""
    if len(rest) >= _CHUNK:
        return rest[:_CHUNK]
    padding = bytes([len(rest)])
    whole = len(rest) & ~3
    last = rest[whole:]
    return (rest[:whole] + padding * (4 - len(last)) + last).ljust(_CHUNK, padding)
