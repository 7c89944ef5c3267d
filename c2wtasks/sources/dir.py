"""`dir:`, the folder that `skopeo copy ... dir:` writes: `manifest.json`, and blobs under their digests' hex digits.

With `--all`, manifest.json is an image index, and the manifests that it lists are `<hex>.manifest.json`.
"""

from __future__ import annotations

from c2wtasks.errors import SourceError
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import INDEXES, MANIFESTS, Descriptor, ImageIndex
from c2wtasks.oci.mediatype import media_type_of
from c2wtasks.sources.content import ContentImages
from c2wtasks.sources.model import BlobPlace
from c2wtasks.sources.opening import open_files
from c2wtasks.sources.reading import MAX_MANIFEST, Files, parse_at, read_place

_TOP = "manifest.json"


class SkopeoFolder:
    """A `Source` over the files of a folder that skopeo wrote."""

    transport = "dir"

    def __init__(self, files: Files) -> None:
        self.path = files.path
        self.index_files: tuple[str, ...] = ()
        self._files = files
        self._top: tuple[Digest, BlobPlace] | None = None

    def index(self) -> ImageIndex:
        """An image index of one descriptor: that of the manifest at the top.

        Raises SourceError: it is not there, or cannot be read.
        """
        place = self._files.place(_TOP)
        if place is None:
            raise SourceError(f"{self.path} has no {_TOP}")
        what = f"{self.path}: {_TOP}"
        content = read_place(place, what, MAX_MANIFEST)
        self.index_files = (place.path,)
        digest = Digest.of(content)
        self._top = digest, place
        return ImageIndex((Descriptor(parse_at(place, what, media_type_of, content), digest, len(content)),))

    def place(self, descriptor: Descriptor) -> BlobPlace | None:
        """Where the blob or manifest of a descriptor lies; None where there is none.

        Raises SourceError.
        """
        if self._top is not None and descriptor.digest == self._top[0]:
            return self._top[1]
        suffix = ".manifest.json" if descriptor.media_type in (*MANIFESTS, *INDEXES) else ""
        return self._files.place(f"{descriptor.digest.hex}{suffix}")


def open_source(path: str) -> ContentImages:
    """The images in the folder `path`. Raises SourceError."""
    return ContentImages(SkopeoFolder(open_files("dir", path)))
