"""What bundle.json says of each file of a bundle, and SHA256SUMS, which says it to `sha256sum -c`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol

import msgspec
import xxhash

_BLOCK = 1 << 20


class _Readable(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


class Output(msgspec.Struct, frozen=True):
    """One file: its size (bytes), and the hashes of its content in hex: SHA-256, which proves it to anybody, and
    xxh3-128, which tells quickly whether it has changed."""

    size: int
    sha256: str
    xxh3: str


def of_bytes(content: bytes) -> Output:
    """Size and hashes of a file that holds `content`."""
    return Output(len(content), hashlib.sha256(content).hexdigest(), xxhash.xxh3_128_hexdigest(content))


def of_stream(stream: _Readable, sha256: str = "") -> Output:
    """Size and hashes of what is left of a stream, which is read once. Where its SHA-256 is given, in hex, that is
    not computed, which takes longer than all else.

    Raises OSError.
    """
    size, xxh3 = 0, xxhash.xxh3_128()
    hashed = None if sha256 else hashlib.sha256()
    buffer = memoryview(bytearray(_BLOCK))
    while count := stream.readinto(buffer):
        size += count
        if hashed is not None:
            hashed.update(buffer[:count])
        xxh3.update(buffer[:count])
    return Output(size, sha256 if hashed is None else hashed.hexdigest(), xxh3.hexdigest())


def sums(outputs: Mapping[str, Output]) -> bytes:
    """The text of SHA256SUMS for the files of a bundle, by their paths in it."""
    return "".join(f"{one.sha256}  {path}\n" for path, one in sorted(outputs.items())).encode()
