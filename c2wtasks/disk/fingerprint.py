"""xxh3-128 fingerprints, for noticing change. Trust (digests, diffIDs) is SHA-256's, in `oci.digest`."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from io import FileIO
from typing import Protocol

import xxhash
from msgspec import json

_BLOCK = 1 << 20
_SMALL = 1 << 16


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


def of_chunks(chunks: Iterable[bytes]) -> str:
    """The fingerprint of all the chunks, one after another."""
    hasher = xxhash.xxh3_128()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.hexdigest()


def of_file(path: str) -> str:
    """The fingerprint of the content of a regular file, or of one that a link leads to.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if found.st_size < _SMALL:  # most are: one call tells all
            content = os.read(descriptor, found.st_size + 1)
            if len(content) == found.st_size:
                return of_bytes(content)
            os.lseek(descriptor, 0, os.SEEK_SET)
        with FileIO(descriptor, "rb", closefd=False) as stream:
            return _of_stream(stream, min(_BLOCK, found.st_size + 1))
    finally:
        os.close(descriptor)


def of_stream(stream: _Readable) -> str:
    """The fingerprint of what is left of a stream.

    Raises OSError.
    """
    return _of_stream(stream, _BLOCK)


def _of_stream(stream: _Readable, block: int) -> str:
    hasher = xxhash.xxh3_128()
    buffer = memoryview(bytearray(block))
    while count := stream.readinto(buffer):
        hasher.update(buffer[:count])
    return hasher.hexdigest()
