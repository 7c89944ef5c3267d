"""Data that is read a chunk at a time and used in pieces of any size, of which what was not used is given back."""

from __future__ import annotations

import re
from collections.abc import Callable


class Feed:
    """The bytes `data`, which were read before, then those that `read` gives: `chunk` at most at a time, none at the
    end."""

    def __init__(self, read: Callable[[int], bytes], chunk: int, data: bytes = b"") -> None:
        self._read, self._chunk = read, chunk
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """How many bytes were read and not taken."""
        return len(self._data) - self._at

    def take(self, most: int) -> bytes:
        """Some bytes, `most` at most; none at the end."""
        if not self.left:
            self._data, self._at = self._read(self._chunk), 0
        taken = self._data[self._at : self._at + most]
        self._at += len(taken)
        return taken

    def give_back(self, data: bytes) -> None:
        """Gives back `data`, the end of what was taken."""
        if len(data) <= self._at:
            self._at -= len(data)
        else:  # a decompressor looks a few bytes ahead, so some may be of what was taken before the last
            self._data, self._at = data + self._data[self._at :], 0

    def ahead(self, count: int) -> bytes:
        """The next `count` bytes or more, which are still to be taken; fewer at the end."""
        while self.left < count and (more := self._read(self._chunk)):
            self._data, self._at = self._data[self._at :] + more, 0
        return self._data[self._at : self._at + count]

    def skip(self, pattern: re.Pattern[bytes]) -> None:
        """Passes over all that matches here, as far as it is at hand."""
        while match := pattern.match(self._data, self._at):
            self._at = match.end()
