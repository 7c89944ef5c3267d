"""Whether two layers hold the same bytes, told by comparing them, or by fingerprints of these."""

from __future__ import annotations

import os
from itertools import chain
from mmap import mmap

from c2wtasks.disk import fingerprint, safely
from c2wtasks.layers.mapped import Unmapped, content_of

_PIECE = 1 << 20


class MappedTars:
    """Tars of layers by their paths, mapped as they are asked for."""

    def __init__(self) -> None:
        self._mapped: dict[str, mmap | Unmapped | None] = {}

    def same(self, one: str, at: int, other: str, other_at: int, length: int) -> bool:
        """Whether `length` bytes, from `at` of the tar `one` and from `other_at` of the tar `other` on, are the same.
        They are not where one of the tars is not there (any more).

        Raises OSError: a tar cannot be read.
        """
        first, second = self._map(one), self._map(other)
        if first is None or second is None or at + length > len(first) or other_at + length > len(second):
            return False
        for done in range(0, length, _PIECE):
            piece = min(_PIECE, length - done)
            if first[at + done : at + done + piece] != second[other_at + done : other_at + done + piece]:
                return False
        return True

    def is_there(self, path: str) -> bool:
        """Whether there is anything to read in a tar."""
        return self._map(path) is not None

    def fingerprint(self, path: str, at: int, length: int, more: bytes = b"") -> str:
        """The xxh3-128 of `length` bytes from `at` of a tar on, and of `more`; "" where it has not so many.

        Raises OSError: the tar cannot be read.
        """
        content = self._map(path)
        if content is None or at + length > len(content):
            return ""
        pieces = (content[start : min(start + _PIECE, at + length)] for start in range(at, at + length, _PIECE))
        return fingerprint.of_chunks(chain(pieces, (more,)))

    def _map(self, path: str) -> mmap | Unmapped | None:
        if path not in self._mapped:
            try:
                descriptor = safely.open_file(path)
                try:
                    self._mapped[path] = content_of(descriptor)
                finally:
                    os.close(descriptor)
            except OSError:
                self._mapped[path] = None
        return self._mapped[path]

    def close(self) -> None:
        """Unmaps all tars."""
        for mapped in self._mapped.values():
            if mapped is not None:
                mapped.close()
