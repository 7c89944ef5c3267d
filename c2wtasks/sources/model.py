"""What a source gives: an image, resolved for one platform, and where the bytes of its layers lie."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import ImageConfig


@dataclass(frozen=True, slots=True)
class BlobPlace:
    """`size` bytes at `offset` of the file `path`: a blob of an image layout, or a member of an archive."""

    path: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of an image, before it is read.

    `digest` is the blob's, None where the source does not name it (older docker archives). `diff_id` is what
    the image config claims of the uncompressed layer: nothing is proven until the blob has been read.
    """

    digest: Digest | None
    diff_id: Digest
    place: BlobPlace

    @property
    def key(self) -> str:
        """64 hex digits that name the blob to read: of its digest; of its place, where it has no digest.

        Blobs without a digest share no key, since only reading them could tell that they are the same.
        """
        if self.digest is None:
            return hashlib.sha256(f"{self.place}\0{self.diff_id}".encode("utf-8", "surrogateescape")).hexdigest()
        return self.digest.hex[:64]

    @property
    def short(self) -> str:
        """For messages: the digest's first digits, or the diffID's where there is no digest."""
        return self.digest.short if self.digest else f"diffID {self.diff_id.short}"


@dataclass(frozen=True, slots=True)
class Image:
    """An image resolved for one platform.

    `manifest_digest` is None for docker archives, which have no manifest of their own. `config` is the image
    config's text, verbatim. `files` are the files whose content this was read from (blobs of layers are not
    among them): while these do not change, neither does the image.
    """

    manifest_digest: Digest | None
    config_digest: Digest
    config: bytes
    parsed: ImageConfig
    layers: tuple[Layer, ...]
    files: tuple[str, ...]
