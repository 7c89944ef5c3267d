"""xxh3-128 fingerprints, for noticing change. Trust (digests, diffIDs) is SHA-256's, in `oci.digest`."""

from __future__ import annotations

from typing import Protocol

import xxhash
from msgspec import json

_BLOCK = 1 << 20


class _Readable(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


def of_bytes(content: bytes) -> str:
    """The fingerprint of `content`: 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(content)


def of_value(value: object) -> str:
    """The fingerprint of plain data (dicts, lists, strings, numbers, dataclasses), equal for equal data.

    The encoding is JSON with sorted keys, so it does not depend on the order in which a dict was filled.
    """
    return of_bytes(json.encode(value, order="sorted"))


def of_file(path: str, offset: int = 0, size: int | None = None) -> str:
    """The fingerprint of a file's content, or of `size` bytes of it from `offset` on.

    Raises OSError.
    """
    with open(path, "rb", buffering=0) as stream:
        stream.seek(offset)
        return of_stream(stream, size)


def of_stream(stream: _Readable, size: int | None = None) -> str:
    """The fingerprint of what is left of a stream, or of its next `size` bytes.

    Raises OSError.
    """
    hasher = xxhash.xxh3_128()
    buffer = memoryview(bytearray(_BLOCK))
    while size != 0 and (count := stream.readinto(buffer[:size])):
        hasher.update(buffer[:count])
        if size is not None:
            size -= count
    return hasher.hexdigest()
