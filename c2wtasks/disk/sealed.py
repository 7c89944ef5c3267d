"""Versioned files of msgpack data that tell a damaged or foreign one from a good one.

8 bytes   magic: kind and version
16 bytes  xxh3-128 of the rest
...       msgpack
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
import xxhash

T = TypeVar("T")


def seal(magic: bytes, value: object) -> bytes:
    """`value` as the content of a file of that kind: equal bytes for equal values."""
    payload = msgspec.msgpack.encode(value)
    return magic + xxhash.xxh3_128_digest(payload) + payload


def unseal(magic: bytes, content: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """The value that `seal` put into `content`.

    Raises ValueError: the file is of another kind or version, damaged, or none that `seal` has made.
    """
    if content[: len(magic)] != magic:
        raise ValueError("it is of another version")
    payload = memoryview(content)[len(magic) + 16 :]
    if xxhash.xxh3_128_digest(payload) != content[len(magic) : len(magic) + 16]:
        raise ValueError("it is damaged")
    try:
        return decoder.decode(payload)
    except RecursionError:
        raise ValueError("its values are nested too deep") from None
