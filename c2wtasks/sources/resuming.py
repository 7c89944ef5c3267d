"""A blob that is fetched in several goes, in several runs even: what has come is kept in a file until all has."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError
from c2wtasks.sources.model import Blob


class Resuming:
    """The bytes in the file `partial`, then those that `rest` gives from there on, which are added to the file.

    Nothing is known of the file but its length: whoever reads hashes all of it. It is removed when all `size` bytes
    have come. Where it cannot be written, the blob comes all the same.
    """

    def __init__(self, rest: Callable[[int], Blob], partial: str, size: int, *, afresh: bool) -> None:
        """`afresh`: what the file holds is not to be used."""
        self._rest = rest
        self._partial = partial
        self._size = size
        self._at = 0
        self._blob: Blob | None = None
        self._file = self._open(afresh=afresh)
        self._kept = 0 if self._file is None else os.fstat(self._file).st_size

    def _open(self, *, afresh: bool) -> int | None:
        try:
            if not afresh:
                with suppress(OSError):
                    descriptor = safely.open_file(self._partial, os.O_RDWR)
                    if os.fstat(descriptor).st_size <= self._size:
                        return descriptor
                    os.close(descriptor)
            files.remove_tree(self._partial)
            return safely.create(self._partial, 0o600)
        except (OSError, OutputError):
            return None

    def read(self, size: int, /) -> bytes:
        """The next bytes, `size` at most; none at the end. Raises OSError, SourceError."""
        if self._at < self._kept and self._file is not None:
            content = os.pread(self._file, min(size, self._kept - self._at), self._at)
        else:
            if self._blob is None:
                self._blob = self._rest(self._at)
            content = self._blob.read(size)
            self._keep(content)
        self._at += len(content)
        return content

    def _keep(self, content: bytes) -> None:
        if self._file is None:
            return
        try:
            done = 0
            while done < len(content):
                done += os.pwrite(self._file, content[done:], self._at + done)
        except OSError:  # the disk is full, say: the layer needs the room more than we do
            self._drop()

    def _drop(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
            with suppress(OSError):
                safely.unlink(self._partial)

    def close(self) -> None:
        """Closes blob and file. The file is removed if all was read, else kept for the next try."""
        if self._blob is not None:
            self._blob.close()
        if self._at == self._size:
            self._drop()
        elif self._file is not None:
            os.close(self._file)
