"""The hash that orders the names of a large directory: half MD4 of unsigned bytes, with the image's seed.

That is MD4's compression function (RFC 1320) with rounds of 8 steps instead of 16, on 32 bytes of the name at a time;
"ext4 Data Structures and Algorithms", "Hash Tree Directories", names it.
"""

from __future__ import annotations

from struct import Struct, unpack

HALF_MD4 = 1
SEED_SIZE = 16

_WORDS = Struct(">8I")
_CHUNK = 32
_LAST_HASH = 0xFFFF_FFFE
_MASK = 0xFFFF_FFFF
_FIRST = ((0, 3), (1, 7), (2, 11), (3, 19), (4, 3), (5, 7), (6, 11), (7, 19))  # (word, bits to turn) of each step
_SECOND = ((1, 3), (3, 5), (5, 9), (7, 13), (0, 3), (2, 5), (4, 9), (6, 13))
_THIRD = ((3, 3), (7, 9), (2, 11), (6, 15), (1, 3), (5, 9), (0, 11), (4, 15))
_ROOT_OF_2 = 0x5A82_7999
_ROOT_OF_3 = 0x6ED9_EBA1


def name_hash(name: bytes, seed: bytes) -> int:
    """Even, and never the number that means the end of a directory."""
    a0, b0, c0, d0 = unpack("<4I", seed)
    for at in range(0, len(name), _CHUNK):
        words = _WORDS.unpack(_padded(name[at:]))
        a, b, c, d = a0, b0, c0, d0
        for word, turn in _FIRST:
            a = (a + (d ^ (b & (c ^ d))) + words[word]) & _MASK
            a, b, c, d = d, (a << turn | a >> (32 - turn)) & _MASK, b, c
        for word, turn in _SECOND:
            a = (a + (b & c) + ((b ^ c) & d) + words[word] + _ROOT_OF_2) & _MASK
            a, b, c, d = d, (a << turn | a >> (32 - turn)) & _MASK, b, c
        for word, turn in _THIRD:
            a = (a + (b ^ c ^ d) + words[word] + _ROOT_OF_3) & _MASK
            a, b, c, d = d, (a << turn | a >> (32 - turn)) & _MASK, b, c
        a0, b0, c0, d0 = (a0 + a) & _MASK, (b0 + b) & _MASK, (c0 + c) & _MASK, (d0 + d) & _MASK
    value = b0 & ~1
    return value if value != _LAST_HASH else _LAST_HASH - 2


def _padded(rest: bytes) -> bytes:
    """The next 32 bytes. A word that the name ends in has its bytes last, and the padding first."""
    if len(rest) >= _CHUNK:
        return rest[:_CHUNK]
    padding = bytes([len(rest)])
    whole = len(rest) & ~3
    last = rest[whole:]
    return (rest[:whole] + padding * (4 - len(last)) + last).ljust(_CHUNK, padding)
