"""What a source gives: an image, resolved for one platform, and where the bytes of its layers lie."""

from __future__ import annotations

import hashlib
import os
import stat
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from errno import EINVAL
from itertools import accumulate
from typing import Protocol

from c2wtasks.disk.below import open_below
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import ImageConfig
from c2wtasks.sources.packed import Unpacked

_CHUNK = 1 << 20


class Blob(Protocol):
    """The bytes of a blob, read once. They are unchecked, and may be fewer than they should be."""

    def read(self, size: int, /) -> bytes:
        """Some of the bytes, `size` at most; none at the end. Raises OSError, SourceError."""

    def close(self) -> None:
        """Closes what the bytes are read from."""


class Place(ABC):
    """Where the bytes of a blob lie. It can be handed to another process, and holds no credentials.

    `size` is how many bytes there are; `where` is for messages.
    """

    __slots__ = ()
    size: int

    @property
    @abstractmethod
    def where(self) -> str:
        """The path or repository, for messages."""

    @property
    @abstractmethod
    def is_local(self) -> bool:
        """Whether the blob is read without asking anybody."""

    @property
    def may_be_told(self) -> bool:
        """Whether messages may say what lies there: its digest, say, where it is not what it should be."""
        return True

    @abstractmethod
    def open(self) -> Blob:
        """The blob, to be read and closed. Raises OSError, SourceError."""

    def open_resuming(self, partial: str) -> Blob:
        """The blob, as `open` gives it; but what takes long to come is kept in the file `partial` as it comes, and
        what an earlier try has left there is not asked for again. Raises OSError, SourceError."""
        return self.open()

    def chunks(self) -> Iterator[bytes]:
        """All the bytes, some at a time; fewer where there are fewer. Raises OSError, SourceError."""
        with closing(self.open()) as blob:
            while content := blob.read(_CHUNK):
                yield content

    @abstractmethod
    def elsewhere(self) -> Place | None:
        """Where to read once more what was wrong here; None where that would give the same."""


Fragments = tuple[tuple[int, int], ...]
"""The fragments of a sparse member: (offset in the member, length), in ascending order."""


@dataclass(frozen=True, slots=True)
class BlobPlace(Place):
    """`size` bytes at `offset` of the file `path`: a blob of an image layout, or a member of an archive.

    `folder` is that of the source, "" where it is an archive: links in it are followed, but out of it only where they
    `led_out` when the image was looked up. Of a file that lies anywhere else nothing is told.

    Where there is a `compression`, `offset` is one of what the file unpacks to. The `fragments` of a sparse member
    alone are stored, one after another; the rest is zeros.
    """

    path: str
    offset: int
    size: int
    compression: str = field(default="", repr=False)
    fragments: Fragments | None = field(default=None, repr=False)
    folder: str = field(default="", repr=False)
    led_out: bool = field(default=False, repr=False)

    @property
    def where(self) -> str:
        """The path of the file."""
        return self.path

    @property
    def is_local(self) -> bool:
        return True

    @property
    def may_be_told(self) -> bool:
        return not self.led_out

    @property
    def end(self) -> int:
        """How many bytes the file must have at least; 0 where that is not known."""
        if self.compression:
            return 0
        stored = self.size if self.fragments is None else sum(length for _, length in self.fragments)
        return self.offset + stored

    def open(self) -> Blob:
        return FileBlob(self, _open(self))

    def elsewhere(self) -> None:
        return None


def _open(place: BlobPlace) -> int:
    if place.folder:
        return open_below(place.folder, place.path[len(place.folder) :].lstrip("/"), leave=place.led_out)[0]
    descriptor = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(EINVAL, "not a regular file", place.path)
    return descriptor


class FileBlob:
    """The bytes of `place`, through a descriptor of its file, which `close` closes."""

    def __init__(self, place: BlobPlace, descriptor: int) -> None:
        self._at = 0
        self._size = place.size
        self._descriptor = descriptor
        stored = self._read_file
        if place.compression:
            stored = Unpacked(self._descriptor, place.compression).read_at
        self._read_at = _Sparse(stored, place).read_at if place.fragments is not None else stored
        self._offset = 0 if place.fragments is not None else place.offset

    def _read_file(self, offset: int, count: int) -> bytes:
        return os.pread(self._descriptor, count, offset)

    def read(self, size: int, /) -> bytes:
        """Some of the bytes, `size` at most; none at the end. Raises OSError, SourceError."""
        count = min(size, self._size - self._at)
        content = self._read_at(self._offset + self._at, count) if count else b""
        self._at += len(content)
        return content

    def close(self) -> None:
        """Closes the descriptor of the file."""
        os.close(self._descriptor)


class _Sparse:
    """The bytes of a sparse member, holes and all. `stored` reads the archive."""

    def __init__(self, stored: Callable[[int, int], bytes], place: BlobPlace) -> None:
        assert place.fragments is not None
        self._stored = stored
        self._starts = [at for at, _ in place.fragments]
        self._fragments = place.fragments
        self._places = [*accumulate((length for _, length in place.fragments), initial=place.offset)]

    def read_at(self, at: int, count: int) -> bytes:
        """Some of the bytes from `at` on, `count` at most: those of one fragment or one hole."""
        before = bisect_right(self._starts, at) - 1
        if before >= 0:
            start, length = self._fragments[before]
            if at < start + length:
                return self._stored(self._places[before] + at - start, min(count, start + length - at))
        following = self._starts[before + 1 : before + 2]
        return bytes(min([count, *(start - at for start in following)]))


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
