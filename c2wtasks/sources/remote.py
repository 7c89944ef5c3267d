"""Where the blobs of a registry's images lie: places that are read through the network."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.oci.access import Access
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.imagename import Repository
from c2wtasks.registry import silence  # noqa: F401 (loaded before processes are forked, which share what it knows)
from c2wtasks.sources.model import Blob, BlobPlace, FileBlob, Place
from c2wtasks.sources.resuming import Resuming

_WORTH_RESUMING = 1 << 18  # bytes


@dataclass(frozen=True, slots=True)
class RemotePlace(Place):
    """The blob `digest` of a repository, of `size` bytes. `afresh`: it is taken neither from a mirror nor from the
    blobs that are kept."""

    repository: Repository
    digest: Digest
    size: int
    access: Access
    afresh: bool = False

    @property
    def where(self) -> str:
        """The repository."""
        return str(self.repository)

    @property
    def is_local(self) -> bool:
        return False

    def open(self) -> Blob:
        return self.open_resuming("")

    def open_resuming(self, partial: str) -> Blob:
        kept = f"{self.access.kept}/{self.digest.algorithm}/{self.digest.hex}" if self.access.kept else ""
        if kept and not self.afresh:
            try:
                descriptor = safely.open_file(kept)
            except OSError:
                pass
            else:
                if os.fstat(descriptor).st_size == self.size:
                    return FileBlob(BlobPlace(kept, 0, self.size), descriptor)
                os.close(descriptor)
        # Most runs fetch nothing, and are spared the loading of these.
        from c2wtasks.registry.client import client
        from c2wtasks.registry.stream import BlobStream

        endpoints = self.access.endpoints(self.repository)
        asked = endpoints[-1:] if self.afresh else endpoints

        def rest(start: int) -> Blob:
            return BlobStream(client(self.access), asked, self.digest, self.size, start)

        large = partial and self.size >= _WORTH_RESUMING
        blob = Resuming(rest, partial, self.size, afresh=self.afresh) if large else rest(0)
        return _Keeping(blob, self.digest, kept) if kept else blob

    def elsewhere(self) -> RemotePlace | None:
        return None if self.afresh else replace(self, afresh=True)


class _Keeping:
    """Passes a blob on and keeps a copy at `path`, if it turns out to be what its digest says."""

    def __init__(self, blob: Blob, digest: Digest, path: str) -> None:
        self._blob = blob
        self._digest = digest
        self._path = path
        self._hash = digest.hasher()
        self._open = ExitStack()
        try:
            self._copy = self._open.enter_context(files.temporary(os.path.dirname(path), shared=True))
        except OSError as error:
            blob.close()
            raise self._not_kept(error) from error

    def read(self, size: int, /) -> bytes:
        content = self._blob.read(size)
        self._hash.update(content)
        try:
            self._copy.stream.write(content)
        except OSError as error:
            raise self._not_kept(error) from error
        return content

    def close(self) -> None:
        self._blob.close()
        try:
            with self._open:
                if self._hash.hexdigest() == self._digest.hex:
                    files.give_name(self._copy, self._path, sync=True)
        except OSError as error:
            raise self._not_kept(error) from error

    def _not_kept(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path}: the blob cannot be kept: {os_reason(error)}")
