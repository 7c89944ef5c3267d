"""Manifests, indexes and configs that were fetched, by digest: `<cache>/documents/<algorithm>/<hex>`.

Each verifies itself, and is verified whenever it is read. Losing one costs only fetching it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError
from c2wtasks.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Documents:
    """Those in the folder `root`, which `keeps` what is put there."""

    root: str
    keeps: bool = True

    def path(self, digest: Digest) -> str:
        """Where the document with this digest is, or would be."""
        return f"{self.root}/{digest.algorithm}/{digest.hex}"

    def get(self, digest: Digest, limit: int) -> bytes | None:
        """The document, if it is here, whole, and of at most `limit` bytes."""
        try:
            content = safely.read(self.path(digest), limit)
        except OSError:
            return None
        return content if Digest.of(content, digest.algorithm) == digest else None

    def put(self, digest: Digest, content: bytes) -> None:
        """Keeps a document; no error is raised where it cannot be written."""
        if not self.keeps:
            return
        try:
            files.write(self.path(digest), content, shared=True)
        except OutputError:  # a cache that cannot be written fails where it matters
            pass
