"""What a source gives: an image, resolved for one platform, and where the bytes of its layers lie."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import ImageConfig


class Blob(Protocol):
    """The bytes of a blob, read once. They are unchecked, and may be fewer than they should be."""

    def read(self, size: int, /) -> bytes:
        """Some of the bytes, `size` at most; none at the end. Raises OSError, SourceError."""

    def close(self) -> None: ...


class Place(ABC):
    """Where the bytes of a blob lie. It can be handed to another process, and holds no credentials.

    `size` is how many bytes there are; `where` is for messages.
    """

    __slots__ = ()
    size: int

    @property
    @abstractmethod
    def where(self) -> str: ...

    @abstractmethod
    def open(self) -> Blob:
        """Raises OSError, SourceError."""

    @abstractmethod
    def elsewhere(self) -> Place | None:
        """Where to read once more what was wrong here; None where that would give the same."""


@dataclass(frozen=True, slots=True)
class BlobPlace(Place):
    """`size` bytes at `offset` of the file `path`: a blob of an image layout, or a member of an archive."""

    path: str
    offset: int
    size: int

    @property
    def where(self) -> str:
        return self.path

    def open(self) -> Blob:
        return _FileBlob(self)

    def elsewhere(self) -> None:
        return None


class _FileBlob:
    def __init__(self, place: BlobPlace) -> None:
        self._at = place.offset
        self._end = place.offset + place.size
        self._descriptor = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)

    def read(self, size: int, /) -> bytes:
        content = os.pread(self._descriptor, min(size, self._end - self._at), self._at)
        self._at += len(content)
        return content

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of an image, before it is read.

    `digest` is the blob's, None where the source does not name it (older docker archives). `diff_id` is what
    the image config claims of the uncompressed layer: nothing is proven until the blob has been read.
    """

    digest: Digest | None
    diff_id: Digest
    place: Place

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
    config's text, verbatim. `files` are the files of the source whose content this was read from (blobs of layers are
    not among them): while these do not change, neither does the image.
    """

    manifest_digest: Digest | None
    config_digest: Digest
    config: bytes
    parsed: ImageConfig
    layers: tuple[Layer, ...]
    files: tuple[str, ...]
