"""Manifests, image indexes and configs that were fetched, by digest: `<cache>/documents/<algorithm>/<hex>`.

Each verifies itself, and is verified whenever it is read. Losing one costs only fetching it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError
from c2wtasks.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents in the folder `root`; what is put there is written only if it `keeps` it. `held` are more, in
    memory alone."""

    root: str
    keeps: bool = True
    held: dict[Digest, bytes] = field(default_factory=dict, compare=False)

    def path(self, digest: Digest) -> str:
        """Where the document with this digest is, or would be."""
        return f"{self.root}/{digest.algorithm}/{digest.hex}"

    def get(self, digest: Digest, limit: int) -> bytes | None:
        """The document, if it is here, whole, and of at most `limit` bytes."""
        if (held := self.held.get(digest)) is not None:
            return held if len(held) <= limit else None
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
